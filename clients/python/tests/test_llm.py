"""Calls to models, and estimates of their tokens."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ratelimiterd import InvalidRequest, anthropic, bytes_estimate, llm_call, openai, tiktoken_estimate


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
