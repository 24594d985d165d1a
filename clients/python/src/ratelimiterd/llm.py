"""Calls to language models, and the limits that they take from."""

from dataclasses import dataclass

from .errors import invalid
from .estimate import Estimate, Prompt, bytes_estimate
from .keys import escape_segment
from .wants import Wants


@dataclass(frozen=True)
class LlmCall:
    """A call to a model of a provider.

    It takes

    - 1 request from ``global:llm:PROVIDER:MODEL:rpm``;
    - the most tokens that it can use from ``global:llm:PROVIDER:MODEL:tpm``;
    - 1 slot of ``global:llm:PROVIDER:MODEL:concurrency``;
    - with a tenant, the same tokens from ``tenant:TENANT:llm:daily_tokens``.

    Each name becomes one segment of the keys, spelled by `escape_segment`.
    """

    provider: str
    model: str
    tokens_max: int
    """The most tokens that the call can use: prompt and output."""

    def wants(self, tenant: str | None) -> Wants:
        """What the call wants from the limits of its model and of a tenant."""
        prefix = f"global:llm:{escape_segment(self.provider)}:{escape_segment(self.model)}"
        token_keys = [f"{prefix}:tpm"]
        if tenant is not None:
            token_keys.append(f"tenant:{escape_segment(tenant)}:llm:daily_tokens")
        amounts = {f"{prefix}:rpm": 1, f"{prefix}:concurrency": 1, **dict.fromkeys(token_keys, self.tokens_max)}
        return Wants(amounts, tuple(token_keys))


def openai(model: str, prompt: Prompt, *, max_tokens: int, estimate: Estimate = bytes_estimate) -> LlmCall:
    """A call to OpenAI. `prompt` is the text or the messages, `max_tokens` the longest output."""
    return llm_call("openai", model, prompt, max_tokens=max_tokens, estimate=estimate)


def anthropic(model: str, prompt: Prompt, *, max_tokens: int, estimate: Estimate = bytes_estimate) -> LlmCall:
    """A call to Anthropic. `prompt` is the text or the messages, `max_tokens` the longest output."""
    return llm_call("anthropic", model, prompt, max_tokens=max_tokens, estimate=estimate)


def llm_call(
    provider: str, model: str, prompt: Prompt, *, max_tokens: int, estimate: Estimate = bytes_estimate
) -> LlmCall:
    """A call to any provider, which the limits name as `provider`."""
    if max_tokens < 0:
        raise invalid(f"max_tokens must be at least 0, not {max_tokens}")
    return LlmCall(provider, model, estimate(prompt) + max_tokens)
