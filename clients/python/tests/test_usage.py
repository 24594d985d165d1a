"""The usage of calls, as providers tell it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ratelimiterd import InvalidRequest, TokenUsage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7}, TokenUsage(input=5, output=7)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}, TokenUsage(input=5, output=7)),
        (
            {
                "prompt_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 10},
                "completion_tokens": 50,
                "completion_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 150,
            },
            TokenUsage(30, 60, 10, 30, 20),
        ),
        # The thoughts of some models are in the total alone.
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 20}, TokenUsage(5, 0, 0, 7, 8)),
        ({"total_tokens": 0}, TokenUsage()),
    ],
)
def test_the_usage_of_openai_counts_each_token_once(usage: dict[str, Any], expected: TokenUsage) -> None:
    as_object = SimpleNamespace(
        **{name: SimpleNamespace(**value) if isinstance(value, dict) else value for name, value in usage.items()}
    )
    assert TokenUsage.of_openai(usage) == TokenUsage.of_openai(as_object) == expected
    assert expected.total == max(usage.get("total_tokens", 0), expected.total)


def test_the_usage_of_anthropic_has_the_types_apart() -> None:
    usage = {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": None, "output_tokens": 4}
    assert TokenUsage.of_anthropic(usage) == TokenUsage(input=1, cached_input=2, output=4)


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
            "6 tokens of caches are more than prompt_tokens, which is 5",
        ),
        (
            {"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
            "reasoning_tokens is 2, more than completion_tokens, which is 1",
        ),
    ],
)
def test_a_usage_that_contradicts_itself_is_refused(usage: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        TokenUsage.of_openai(usage)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="output must be a whole number from 0, not -1"):
        TokenUsage(output=-1)
