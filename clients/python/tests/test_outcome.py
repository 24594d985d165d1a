"""The leases of calls of other libraries."""

from typing import Any

import pytest

from ratelimiterd.integrations import outcome


def test_the_oldest_lease_is_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_OPEN_LEASES_MAX", 2)
    leases: outcome.OpenLeases[Any] = outcome.OpenLeases()
    for call_id in ("first", "second", "third"):
        leases.put(call_id, f"lease of {call_id}")
    assert [leases.take(call_id) for call_id in ("first", "second", "third", "third")] == [
        None,
        "lease of second",
        "lease of third",
        None,
    ]
