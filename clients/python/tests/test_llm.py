"""Calls to models, and estimates of their tokens."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ratelimiterd import (
    InvalidRequest,
    LlmCall,
    LlmLimits,
    Measure,
    Measures,
    NoPrice,
    PriceTable,
    TokenUsage,
    anthropic,
    bytes_estimate,
    llm_call,
    openai,
    tiktoken_estimate,
)


def test_a_call_takes_from_the_limits_of_its_model_and_tenant() -> None:
    wants = openai("gpt-4o", "Grüß", max_tokens=100).wants("acme")
    assert wants.amounts == {
        "global:llm:openai:gpt-4o:rpm": 1,
        "global:llm:openai:gpt-4o:concurrency": 1,
        "global:llm:openai:gpt-4o:tpm": 106,
        "tenant:acme:llm:daily_tokens": 106,
    }
    assert wants.token_keys == ("global:llm:openai:gpt-4o:tpm", "tenant:acme:llm:daily_tokens")


def test_without_a_tenant_it_takes_from_the_model_alone() -> None:
    wants = anthropic("claude-fable-5", "", max_tokens=1).wants(None)
    assert wants.token_keys == ("global:llm:anthropic:claude-fable-5:tpm",)
    assert len(wants.amounts) == 3


def test_a_name_fills_one_segment() -> None:
    wants = llm_call("open router", "llama3:8b", "", max_tokens=1).wants("user:ann")
    assert wants.token_keys == ("global:llm:open%20router:llama3%3A8b:tpm", "tenant:user%3Aann:llm:daily_tokens")


def test_a_negative_output_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        openai("gpt-4o", "prompt", max_tokens=-1)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("", 0),
        ("Grüß", 6),
        ([{"role": "user", "content": "Why?"}], 4 + 4 + 4),
        ([{"role": "user", "content": [{"type": "text", "text": "Why?"}]}], 4 + 4 + 4 + 4 + 4),
        ([{"role": "user", "content": None, "n": 12, "ok": True}], 4 + 4 + 2 + 4),
        ([{"url": "data:image/png;base64," + "A" * 100_000}], 4 + 1_500),
    ],
)
def test_bytes_estimate_counts_all_text(prompt: Any, tokens: int) -> None:
    assert bytes_estimate(prompt) == tokens


def test_the_estimate_can_be_replaced() -> None:
    call = openai("gpt-4o", "three short words", max_tokens=10, estimate=lambda prompt: len(str(prompt).split()))
    assert call.tokens_max == 13


def test_tiktoken_counts_with_the_encoding_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoding:
        def __init__(self, tokens: int) -> None:
            self.tokens = tokens

        def encode(self, text: str, *, disallowed_special: tuple[()]) -> list[int]:
            return [0] * self.tokens

    def encoding_for_model(model: str) -> Encoding:
        if model != "gpt-4o":
            raise KeyError(model)
        return Encoding(3)

    fake = SimpleNamespace(encoding_for_model=encoding_for_model, get_encoding=lambda name: Encoding(5))
    monkeypatch.setitem(sys.modules, "tiktoken", fake)
    assert tiktoken_estimate("gpt-4o")([{"content": "Why?"}]) == 7
    assert tiktoken_estimate("novel")("Why?") == 5


PRICES = PriceTable.parse(
    '{"currency": "USD", "prices": [{"provider": "openai", "model": "gpt-4o", "micros_per_million_tokens":'
    ' {"input": 2500000, "cached_input": 1250000, "output": 10000000}}]}'
)
MONEY = LlmLimits(token_types=True, prices=PRICES)


def test_one_reserve_covers_token_types_and_money() -> None:
    wants = openai("gpt-4o", "Grüß", max_tokens=100, limits=MONEY).wants("acme")
    assert wants.amounts == {
        "global:llm:openai:gpt-4o:rpm": 1,
        "global:llm:openai:gpt-4o:concurrency": 1,
        "global:llm:openai:gpt-4o:tpm": 106,
        "global:llm:openai:gpt-4o:input_tpm": 6,
        "global:llm:openai:gpt-4o:cached_input_tpm": 6,
        "global:llm:openai:gpt-4o:output_tpm": 100,
        "tenant:acme:llm:daily_tokens": 106,
        # 6 x 2.5 + 100 x 10.
        "tenant:acme:llm:cost:usd": 1_015,
    }


def test_one_usage_settles_token_types_and_money() -> None:
    wants = openai("gpt-4o", "Grüß", max_tokens=100, limits=MONEY).wants("acme")
    expected = {
        "global:llm:openai:gpt-4o:tpm": 56,
        "global:llm:openai:gpt-4o:input_tpm": 4,
        "global:llm:openai:gpt-4o:cached_input_tpm": 2,
        "global:llm:openai:gpt-4o:output_tpm": 50,
        "tenant:acme:llm:daily_tokens": 56,
        # 4 x 2.5 + 2 x 1.25 + 50 x 10 = 512.5.
        "tenant:acme:llm:cost:usd": 513,
    }
    assert wants.of_usage(TokenUsage(3, 2, 1, 20, 30)) == expected
    assert wants.of_tokens(0) == dict.fromkeys(expected, 0)
    assert wants.of_output(7) == {
        "global:llm:openai:gpt-4o:tpm": 7,
        "global:llm:openai:gpt-4o:output_tpm": 7,
        "tenant:acme:llm:daily_tokens": 7,
        "tenant:acme:llm:cost:usd": 70,
    }


def test_limits_of_your_own_count_what_they_say() -> None:
    limits = LlmLimits(prices=PRICES, more={"all:cost": Measure.COST, "all:output": Measure.OUTPUT_TOKENS})
    wants = openai("gpt-4o", "", max_tokens=0, limits=limits).wants(None)
    assert (wants.amounts["all:cost"], wants.amounts["all:output"]) == (1, 1), "they hold a unit, to be settled"
    assert wants.of_usage(TokenUsage(output=3)) == {
        "global:llm:openai:gpt-4o:tpm": 3,
        "all:cost": 30,
        "all:output": 3,
    }


def test_a_cost_that_no_limit_would_count_is_refused() -> None:
    call = openai("gpt-4o", "Why?", max_tokens=1, limits=MONEY)
    with pytest.raises(InvalidRequest, match="name a tenant"):
        call.wants(None)
    with pytest.raises(InvalidRequest, match="needs a price table"):
        LlmLimits(more={"all:cost": Measure.COST})
    with pytest.raises(InvalidRequest, match="llm_call looks it up"):
        LlmCall("openai", "gpt-4o", 1, 1, MONEY)
    with pytest.raises(InvalidRequest, match="needs a price"):
        Measures({"all:cost": Measure.COST})


def test_a_model_without_a_price_is_refused() -> None:
    with pytest.raises(NoPrice, match='provider "anthropic" and model "gpt-4o"'):
        anthropic("gpt-4o", "Why?", max_tokens=1, limits=MONEY)
