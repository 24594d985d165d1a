"""A callback for the models of LangChain, which waits for their limits before each call.

>>> from ratelimiterd.integrations.langchain import LimitCalls
>>> model.invoke("Why is the sky blue?", config={"callbacks": [LimitCalls(limiter, tenant="acme")]})  # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult

from ..client import Limiter
from ..estimate import Estimate, Prompt, bytes_estimate
from ..lease import Lease
from ..llm import LlmLimits, llm_call
from .outcome import OpenLeases, tell_failure, tell_usage


class LimitCalls(BaseCallbackHandler):
    """Takes from the limits of the model and the tenant, and settles with the usage that the model tells.

    It raises what `Limiter.acquire` raises, and the model is not called then. For ``ainvoke`` and ``astream``,
    LangChain runs it on a thread of its own. `max_tokens` is the output to reserve for a model that sets no maximum.
    `provider` and `model` replace the names that LangChain tells.
    """

    raise_error = True

    def __init__(
        self,
        limiter: Limiter,
        *,
        tenant: str | None = None,
        max_wait: float | None = None,
        max_tokens: int = 1_024,
        estimate: Estimate = bytes_estimate,
        provider: str | None = None,
        model: str | None = None,
        limits: LlmLimits | None = None,
    ) -> None:
        self._limiter = limiter
        self._tenant = tenant
        self._max_wait = max_wait
        self._max_tokens = max_tokens
        self._estimate = estimate
        self._provider = provider
        self._model = model
        self._limits = limits
        self._open: OpenLeases[Lease] = OpenLeases()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Waits for the limits of a chat model."""
        prompt = [{"role": message.type, "content": message.content} for group in messages for message in group]
        self._acquire(run_id, prompt, metadata or {}, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Waits for the limits of a text model."""
        self._acquire(run_id, prompts, metadata or {}, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Settles the lease of a call."""
        lease = self._open.take(str(run_id))
        if lease is not None:
            with lease:
                usage = _usage(response)
                if usage is not None:
                    tell_usage(lease, usage)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the lease of a call that failed."""
        lease = self._open.take(str(run_id))
        if lease is not None:
            with lease:
                tell_failure(lease, error)

    def _acquire(self, run_id: UUID, prompt: Prompt, metadata: dict[str, Any], kwargs: dict[str, Any]) -> None:
        parameters = kwargs.get("invocation_params") or {}
        maximum = metadata.get("ls_max_tokens") or parameters.get("max_tokens")
        call = llm_call(
            self._provider or str(metadata.get("ls_provider")),
            self._model or str(metadata.get("ls_model_name")),
            prompt,
            max_tokens=maximum if isinstance(maximum, int) else self._max_tokens,
            estimate=self._estimate,
            limits=self._limits,
        )
        lease = self._limiter.acquire(call, tenant=self._tenant, max_wait=self._max_wait)
        self._open.put(str(run_id), lease)


def _usage(response: LLMResult) -> Mapping[str, Any] | None:
    """The usage of a call in OpenAI's form; ``None`` if the model does not tell it."""
    of_call = (response.llm_output or {}).get("token_usage") or {}
    if isinstance(of_call.get("total_tokens"), int):
        return of_call
    messages = [
        generation.message
        for generations in response.generations
        for generation in generations
        if isinstance(generation, ChatGeneration)
    ]
    usages = [
        message.usage_metadata for message in messages if isinstance(message, AIMessage) and message.usage_metadata
    ]
    return _in_form_of_openai(usages) if usages else None


def _in_form_of_openai(usages: Sequence[UsageMetadata]) -> Mapping[str, Any]:
    """The sum of what the messages of a call tell. LangChain's input tokens include those of caches, too."""
    of_input = [usage.get("input_token_details") or {} for usage in usages]
    of_output = [usage.get("output_token_details") or {} for usage in usages]
    return {
        "prompt_tokens": sum(usage["input_tokens"] for usage in usages),
        "completion_tokens": sum(usage["output_tokens"] for usage in usages),
        "total_tokens": sum(usage["total_tokens"] for usage in usages),
        "prompt_tokens_details": {
            "cached_tokens": sum(details.get("cache_read") or 0 for details in of_input),
            "cache_creation_tokens": sum(details.get("cache_creation") or 0 for details in of_input),
        },
        "completion_tokens_details": {
            "reasoning_tokens": sum(details.get("reasoning") or 0 for details in of_output),
        },
    }
