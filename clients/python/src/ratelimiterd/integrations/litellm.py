"""A callback for LiteLLM, in programs and in its proxy, which waits for the limits before each asynchronous completion.

>>> import litellm
>>> from ratelimiterd.integrations.litellm import LimitCalls
>>> litellm.callbacks = [LimitCalls(limiter, tenant="acme")]  # doctest: +SKIP

Do not use version 1.107.0 of LiteLLM: it was compromised.
"""

from collections.abc import Callable, Mapping
from typing import Any

from litellm import RateLimitError, get_llm_provider
from litellm.integrations.custom_logger import CustomLogger

from ..aio import AsyncLimiter
from ..errors import Denied
from ..estimate import Estimate, bytes_estimate
from ..lease import AsyncLease
from ..llm import LlmCall, LlmLimits, llm_call
from .outcome import OpenLeases, tell_failure, tell_usage

Tenant = str | Callable[[Mapping[str, Any]], str | None] | None
"""A tenant, or a function that finds it in the arguments of a call."""


class LimitCalls(CustomLogger):
    """Takes from the limits of the model and the tenant for each ``acompletion``, retries and fallbacks included.

    A denial is raised as LiteLLM's `RateLimitError`, so that its routers treat it as one. LiteLLM has no hook that can
    stop a synchronous ``completion``: such calls are not limited. `max_tokens` is the output to reserve for a call that
    sets no maximum.
    """

    def __init__(
        self,
        limiter: AsyncLimiter,
        *,
        tenant: Tenant = None,
        max_wait: float | None = 10.0,
        max_tokens: int = 1_024,
        estimate: Estimate = bytes_estimate,
        limits: LlmLimits | None = None,
    ) -> None:
        super().__init__()
        self._limiter = limiter
        self._tenant = tenant
        self._max_wait = max_wait
        self._max_tokens = max_tokens
        self._estimate = estimate
        self._limits = limits
        self._open: OpenLeases[AsyncLease] = OpenLeases()

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """Waits for the limits of a call."""
        if getattr(call_type, "value", call_type) != "acompletion":
            return
        call_id = str(kwargs.get("litellm_call_id"))
        await self._end(call_id, None, None)  # an attempt before, of which this is a retry
        call = self._call(kwargs)
        tenant = self._tenant(kwargs) if callable(self._tenant) else self._tenant
        try:
            lease = await self._limiter.acquire(call, tenant=tenant, max_wait=self._max_wait)
        except Denied as denied:
            raise RateLimitError(str(denied), llm_provider=call.provider, model=call.model) from denied
        self._open.put(call_id, lease)

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, Any], exception: Exception, call_type: Any, fallback_depth: int | None = None
    ) -> None:
        """Ends the lease of an attempt that failed."""
        await self._end(str(request_data.get("litellm_call_id")), None, exception)

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Settles the lease of a call."""
        usage = {"total_tokens": 0} if kwargs.get("cache_hit") else getattr(response_obj, "usage", None)
        await self._end(str(kwargs.get("litellm_call_id")), usage, None)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Ends the lease of a call that failed."""
        await self._end(str(kwargs.get("litellm_call_id")), None, kwargs.get("exception"))

    async def _end(self, call_id: str, usage: Any, error: BaseException | None) -> None:
        lease = self._open.take(call_id)
        if lease is None:
            return
        async with lease:
            if usage is not None:
                tell_usage(lease, usage)
            if error is not None:
                tell_failure(lease, error)

    def _call(self, kwargs: dict[str, Any]) -> LlmCall:
        # Arguments that were given by position are in the logging object alone.
        logging = kwargs.get("litellm_logging_obj")
        name = str(kwargs.get("model") or getattr(logging, "model", ""))
        model, provider, _, _ = get_llm_provider(name, kwargs.get("custom_llm_provider"))
        maximum = kwargs.get("max_completion_tokens") or kwargs.get("max_tokens") or self._max_tokens
        messages = kwargs.get("messages") or getattr(logging, "messages", None) or ()
        return llm_call(provider, model, messages, max_tokens=maximum, estimate=self._estimate, limits=self._limits)
