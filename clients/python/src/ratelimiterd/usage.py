"""The tokens of a call, by what a provider charges for them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import invalid


@dataclass(frozen=True)
class TokenUsage:
    """The tokens of a call by type. Each token is of one type, so the sum is the total."""

    input: int = 0
    """Input that was neither read from a cache nor written to one."""
    cached_input: int = 0
    """Input that was read from a cache."""
    cache_write_input: int = 0
    """Input that was written to a cache."""
    output: int = 0
    """Output without reasoning."""
    reasoning: int = 0
    """Output that the caller does not see."""

    def __post_init__(self) -> None:
        for each in fields(self):
            tokens = getattr(self, each.name)
            if not isinstance(tokens, int) or tokens < 0:
                raise invalid(f"{each.name} must be a whole number from 0, not {tokens!r}")

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input + self.cached_input + self.cache_write_input + self.output + self.reasoning

    @classmethod
    def of_openai(cls, usage: Any) -> "TokenUsage":
        """The usage as OpenAI and compatible providers tell it: an object, or a mapping.

        Their prompt tokens include the cached ones, and their completion tokens the reasoning. What some providers
        count in the total alone is reasoning too.
        """
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        hidden = max(0, _count(usage, "total_tokens") - prompt - completion)
        of_prompt, of_completion = (_get(usage, f"{name}_tokens_details") for name in ("prompt", "completion"))
        cached = _count(of_prompt, "cached_tokens")
        written = _count(of_prompt, "cache_creation_tokens")
        reasoning = _count(of_completion, "reasoning_tokens")
        if cached + written > prompt:
            raise invalid(f"{cached + written} tokens of caches are more than prompt_tokens, which is {prompt}")
        if reasoning > completion:
            raise invalid(f"reasoning_tokens is {reasoning}, more than completion_tokens, which is {completion}")
        return cls(prompt - cached - written, cached, written, completion - reasoning, reasoning + hidden)

    @classmethod
    def of_anthropic(cls, usage: Any) -> "TokenUsage":
        """The usage as Anthropic tells it: an object, or a mapping."""
        return cls(
            input=_count(usage, "input_tokens"),
            cached_input=_count(usage, "cache_read_input_tokens"),
            cache_write_input=_count(usage, "cache_creation_input_tokens"),
            output=_count(usage, "output_tokens"),
        )


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _count(holder: Any, name: str) -> int:
    """A count; what a provider leaves out, or says to be null, is 0."""
    value = _get(holder, name)
    return value if isinstance(value, int) else 0
