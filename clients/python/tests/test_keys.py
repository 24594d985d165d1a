"""The spelling of keys and ids."""

import time

import pytest

from ratelimiterd import escape_segment
from ratelimiterd.keys import in_path
from ratelimiterd.ulid import new_ulid


# The table of src/limit/escape.rs.
@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("2001:db8::1", "2001%3Adb8%3A%3A1"),
        ("user:ann", "user%3Aann"),
        ("auth0|x", "auth0%7Cx"),
        ("o'brien@example.com", "o%27brien@example.com"),
        ("é", "%C3%A9"),
        ("100%", "100%25"),
        ("user%3Aann", "user%253Aann"),
        ("{user*}", "%7Buser%2A%7D"),
        ("\0 \u007f", "%00%20%7F"),
        ("A-z0/9.b_c@d+e=f", "A-z0/9.b_c@d+e=f"),
    ],
)
def test_any_text_fills_one_segment(text: str, segment: str) -> None:
    assert escape_segment(text) == segment


def test_the_escapes_of_a_key_are_escaped_in_a_path() -> None:
    assert in_path("tenant:user%3Aann:a/b@c+d=e") == "tenant:user%253Aann:a/b@c+d=e"


def test_an_id_begins_with_its_time_and_is_never_repeated() -> None:
    before = time.time_ns() // 1_000_000
    ids = {new_ulid() for _ in range(1000)}
    after = time.time_ns() // 1_000_000
    assert len(ids) == 1000
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    for ulid in ids:
        assert len(ulid) == 26
        milliseconds = sum(digits.index(digit) << (5 * (9 - index)) for index, digit in enumerate(ulid[:10]))
        assert before <= milliseconds <= after
