"""The callback for LiteLLM, called in LiteLLM's order. Where LiteLLM is installed, LiteLLM itself calls it too."""

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from calls import QUICK, DefineLimit, reserved
from service import Service

from ratelimiterd import AsyncLimiter, Limiter

MESSAGES = [{"role": "user", "content": "Why?"}]
ESTIMATE = 12 + 100


class FakeRateLimitError(Exception):
    status_code = 429

    def __init__(self, message: str, llm_provider: str, model: str) -> None:
        super().__init__(message)
        self.names = llm_provider, model


def fake_litellm() -> dict[str, ModuleType]:
    """What the callback uses of LiteLLM."""
    package, integrations = ModuleType("litellm"), ModuleType("litellm.integrations")
    custom_logger = ModuleType("litellm.integrations.custom_logger")
    custom_logger.CustomLogger = type("CustomLogger", (), {})  # type: ignore[attr-defined]
    package.RateLimitError = FakeRateLimitError  # type: ignore[attr-defined]
    package.get_llm_provider = lambda model, provider: (  # type: ignore[attr-defined]
        model.rpartition("/")[2],
        provider or model.partition("/")[0],
        None,
        None,
    )
    return {module.__name__: module for module in (package, integrations, custom_logger)}


class Usage:
    """A response that tells its usage."""

    class usage:
        total_tokens = 42


class Limits:
    """The limits of the model that the calls of these tests use."""

    def __init__(self, define: DefineLimit, model: str) -> None:
        self.model = f"openai/{model}"
        prefix = f"global:llm:openai:{model}"
        define("rolling", 10, f"{prefix}:rpm")
        self.tpm = define("rolling", 500, f"{prefix}:tpm")
        self.slots = define("concurrency", 2, f"{prefix}:concurrency")

    def reserved(self, limiter: Limiter) -> tuple[int, int]:
        """The tokens and the slots that are reserved."""
        return reserved(limiter, self.tpm), reserved(limiter, self.slots)

    def call(self, call_id: str, **arguments: Any) -> dict[str, Any]:
        return {"litellm_call_id": call_id, "model": self.model, "messages": MESSAGES, "max_tokens": 100, **arguments}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The integration, over a fake LiteLLM."""
    for name, fake in fake_litellm().items():
        monkeypatch.setitem(sys.modules, name, fake)
    yield importlib.import_module("ratelimiterd.integrations.litellm")
    del sys.modules["ratelimiterd.integrations.litellm"]


def test_each_attempt_is_settled(module: Any, service: Service, limiter: Limiter, define: DefineLimit) -> None:
    limits = Limits(define, "attempts")

    async def main() -> None:
        async with AsyncLimiter(service.url, QUICK) as async_limiter:
            callback = module.LimitCalls(async_limiter)
            call = limits.call("1")
            await callback.async_pre_call_deployment_hook(call, "acompletion")
            assert limits.reserved(limiter) == (ESTIMATE, 1)
            await callback.async_log_success_event(call, Usage(), None, None)
            assert limits.reserved(limiter) == (42, 0)

            # An attempt that was refused, then its retry under the same id, which fails without a status.
            await callback.async_pre_call_deployment_hook(call, "acompletion")
            refusal = FakeRateLimitError("why", "openai", "attempts")
            await callback.async_post_call_failure_deployment_hook(call, refusal, "acompletion")
            assert limits.reserved(limiter) == (42, 0)
            await callback.async_pre_call_deployment_hook(call, "acompletion")
            await callback.async_log_failure_event({**call, "exception": TimeoutError()}, None, None, None)
            assert limits.reserved(limiter) == (42 + ESTIMATE, 0)

            # An attempt of which nothing was heard ends when its retry begins.
            await callback.async_pre_call_deployment_hook(call, "acompletion")
            await callback.async_pre_call_deployment_hook(call, "acompletion")
            assert limits.reserved(limiter) == (42 + 3 * ESTIMATE, 1)
            await callback.async_log_success_event({**call, "cache_hit": True}, Usage(), None, None)
            assert limits.reserved(limiter) == (42 + 2 * ESTIMATE, 0)

            # An end without a beginning, and a call of another kind.
            await callback.async_log_success_event(call, Usage(), None, None)
            await callback.async_pre_call_deployment_hook(call, "aembedding")
            assert limits.reserved(limiter) == (42 + 2 * ESTIMATE, 0)

    asyncio.run(main())


def test_a_denial_is_a_rate_limit_error_of_litellm(
    module: Any, service: Service, limiter: Limiter, define: DefineLimit
) -> None:
    limits = Limits(define, "denials")
    daily = define("rolling", 50, "tenant:team-1:llm:daily_tokens")

    async def main() -> None:
        async with AsyncLimiter(service.url, QUICK) as async_limiter:
            callback = module.LimitCalls(async_limiter, tenant=lambda call: call["metadata"]["team"], max_wait=0)
            with pytest.raises(FakeRateLimitError, match=daily) as raised:
                await callback.async_pre_call_deployment_hook(
                    limits.call("1", metadata={"team": "team-1"}), "acompletion"
                )
            assert raised.value.names == ("openai", "denials")
        assert limits.reserved(limiter) == (0, 0)

    asyncio.run(main())


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
@pytest.mark.filterwarnings("ignore")
def test_litellm_calls_the_callback(
    service: Service, limiter: Limiter, define: DefineLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm: Any = importlib.import_module("litellm")
    from ratelimiterd.integrations.litellm import LimitCalls

    limits = Limits(define, "real")

    async def settled(tokens: int) -> None:
        # LiteLLM logs in the background.
        deadline = asyncio.get_running_loop().time() + 10
        while limits.reserved(limiter) != (tokens, 0):
            assert asyncio.get_running_loop().time() < deadline, limits.reserved(limiter)
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with AsyncLimiter(service.url, QUICK) as async_limiter:
            monkeypatch.setattr(litellm, "callbacks", [LimitCalls(async_limiter, max_wait=0)])
            answer = await litellm.acompletion(limits.model, MESSAGES, max_tokens=100, mock_response="word")
            used = answer.usage.total_tokens
            await settled(used)
            async for _ in await litellm.acompletion(
                model=limits.model, messages=MESSAGES, max_tokens=100, mock_response="word", stream=True
            ):
                assert limits.reserved(limiter)[1] == 1
            await asyncio.sleep(0.2)
            total = limits.reserved(limiter)[0]
            await settled(total)
            assert used < total < used + ESTIMATE
            router = litellm.Router(
                model_list=[
                    {
                        "model_name": "mine",
                        "litellm_params": {
                            "model": limits.model,
                            "api_key": "none",
                            "mock_response": "litellm.RateLimitError",
                        },
                    }
                ],
                num_retries=1,
                retry_after=0,
            )
            with pytest.raises(litellm.RateLimitError):
                await router.acompletion(model="mine", messages=MESSAGES, max_tokens=100)
            await settled(total)
            with pytest.raises(litellm.RateLimitError, match="above the capacity"):
                await litellm.acompletion(limits.model, MESSAGES, max_tokens=1_000, mock_response="word")

    asyncio.run(main())
