"""Estimates of the tokens of a prompt, before a provider counts them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Prompt: TypeAlias = str | Sequence[Any] | Mapping[str, Any]
"""A text, or messages as JSON."""

Estimate = Callable[[Prompt], int]
"""Returns the most tokens that a prompt can have. Usage above it becomes overage of the limits."""

_MEDIA_TOKENS = 1_500  # of a data URL; its length says nothing about its tokens
_MESSAGE_TOKENS = 4  # what a provider's format adds for each message


def bytes_estimate(prompt: Prompt) -> int:
    """Counts one token for each byte of text. No tokenizer makes more tokens of a text than that."""
    return _total(prompt, lambda text: len(text.encode()))


def tiktoken_estimate(model: str) -> Estimate:
    """Counts with OpenAI's tokenizer, the package ``tiktoken``, which downloads the vocabulary of a model."""
    import tiktoken

    try:
        encoding = tiktoken.encoding_for_model(model)
    except KeyError:
        encoding = tiktoken.get_encoding("o200k_base")
    return lambda prompt: _total(prompt, lambda text: len(encoding.encode(text, disallowed_special=())))


def _total(prompt: Prompt, tokens_of: Callable[[str], int]) -> int:
    return sum(
        _MESSAGE_TOKENS if text is None else _MEDIA_TOKENS if text.startswith("data:") else tokens_of(text)
        for text in _texts(prompt)
    )


def _texts(prompt: Any) -> Iterator[str | None]:
    """All texts of a prompt, and ``None`` for each JSON object."""
    if isinstance(prompt, str):
        yield prompt
    elif isinstance(prompt, Mapping):
        yield None
        for value in prompt.values():
            yield from _texts(value)
    elif isinstance(prompt, Sequence):
        for item in prompt:
            yield from _texts(item)
    elif prompt is not None:
        yield str(prompt)
