"""LangChain's models, limited by a real service."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from calls import DefineLimit, reserved
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from ratelimiterd import Denied, Limiter, LlmLimits
from ratelimiterd.integrations.langchain import LimitCalls

USAGE: Any = {
    "input_tokens": 2,
    "output_tokens": 40,
    "total_tokens": 42,
    "input_token_details": {"cache_read": 1},
    "output_token_details": {"reasoning": 30},
}
PROMPT_TOKENS = 13  # the estimate for "Why?" and its role, "human"


class RefusedError(Exception):
    status_code = 400


class FakeModel(BaseChatModel):
    """A model that answers one word, or fails."""

    model: str
    max_tokens: int = 100
    failure: Any = None

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": self.model, "ls_max_tokens": self.max_tokens}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.failure is not None:
            raise self.failure
        return ChatResult(generations=[ChatGeneration(message=AIMessage("word", usage_metadata=USAGE))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="word"))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=USAGE))


class Limits:
    """The limits of a model."""

    def __init__(self, define: DefineLimit, provider: str, model: str) -> None:
        prefix = f"global:llm:{provider}:{model}"
        self.rpm = define("rolling", 10, f"{prefix}:rpm")
        self.tpm = define("rolling", 1_000, f"{prefix}:tpm")
        self.slots = define("concurrency", 1, f"{prefix}:concurrency")

    def reserved(self, limiter: Limiter) -> tuple[int, int, int]:
        rpm, tpm, slots = (reserved(limiter, key) for key in (self.rpm, self.tpm, self.slots))
        return rpm, tpm, slots


def test_each_call_is_settled_with_its_usage(limiter: Limiter, define: DefineLimit) -> None:
    limits = Limits(define, "fake", "calls")
    daily = define("rolling", 1_000, "tenant:langchain:llm:daily_tokens")
    model = FakeModel(model="calls", callbacks=[LimitCalls(limiter, tenant="langchain", max_wait=0)])
    model.invoke("Why?")
    assert limits.reserved(limiter) == (1, 42, 0)
    asyncio.run(model.ainvoke("Why?"))
    assert limits.reserved(limiter) == (2, 84, 0)
    stream = model.stream("Why?")
    next(stream)
    assert limits.reserved(limiter) == (3, 84 + PROMPT_TOKENS + 100, 1)
    with pytest.raises(Denied):
        model.invoke("Why?")
    list(stream)
    assert limits.reserved(limiter) == (3, 126, 0)
    assert reserved(limiter, daily) == 126


def test_a_refused_call_releases_its_tokens_and_a_failed_one_keeps_them(limiter: Limiter, define: DefineLimit) -> None:
    limits = Limits(define, "fake", "failures")
    callbacks: Any = [LimitCalls(limiter, max_wait=0)]
    with pytest.raises(RefusedError):
        FakeModel(model="failures", failure=RefusedError(), callbacks=callbacks).invoke("Why?")
    assert limits.reserved(limiter) == (1, 0, 0)
    with pytest.raises(TimeoutError):
        FakeModel(model="failures", failure=TimeoutError(), callbacks=callbacks).invoke("Why?")
    assert limits.reserved(limiter) == (2, PROMPT_TOKENS + 100, 0)


def test_a_text_model_that_tells_nothing_keeps_the_estimate(limiter: Limiter, define: DefineLimit) -> None:
    limits = Limits(define, "mine", "text")
    callback = LimitCalls(limiter, max_wait=0, max_tokens=20, provider="mine", model="text")
    FakeListLLM(responses=["word"]).invoke("Why?", config={"callbacks": [callback]})
    assert limits.reserved(limiter) == (1, 4 + 20, 0)


def test_token_types_are_settled_with_what_the_model_tells(limiter: Limiter, define: DefineLimit) -> None:
    limits = Limits(define, "fake", "types")
    prefix = "global:llm:fake:types"
    keys = [define("rolling", 500, f"{prefix}:{name}") for name in ("input_tpm", "cached_input_tpm", "output_tpm")]
    callback = LimitCalls(limiter, max_wait=0, limits=LlmLimits(token_types=True))
    FakeModel(model="types", callbacks=[callback]).invoke("Why?")
    assert [reserved(limiter, key) for key in keys] == [1, 1, 40]
    assert limits.reserved(limiter) == (1, 42, 0)
