"""Clients of the package ``openai`` whose chat completions wait for their limits.

>>> from openai import OpenAI
>>> from ratelimiterd.integrations.openai import limited
>>> client = limited(OpenAI(), limiter, tenant="acme")  # doctest: +SKIP
>>> client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=500)  # doctest: +SKIP

A limited client does not repeat calls by itself, because no lease would count the repetitions.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from openai import AsyncOpenAI, OpenAI

from ..aio import AsyncLimiter
from ..client import Limiter
from ..errors import RatelimiterdError
from ..estimate import Estimate, bytes_estimate
from ..lease import AsyncLease, BaseLease, Lease
from ..llm import LlmCall, LlmLimits, llm_call
from .outcome import tell_failure, tell_usage


@dataclass(frozen=True)
class ChatOptions:
    """How the chat completions of a client are limited."""

    provider: str = "openai"
    """The provider in the keys of the limits."""
    max_tokens: int = 1_024
    """The output to reserve for a call that sets no maximum. Its stream extends the lease when it gets longer."""
    max_wait: float | None = None
    """The most seconds to wait for room; ``None`` waits for as long as it takes."""
    estimate: Estimate = bytes_estimate
    """The estimate of the tokens of the messages."""
    limits: LlmLimits = field(default_factory=LlmLimits)
    """Limits of token types and money."""


def limited(
    client: OpenAI, limiter: Limiter, *, tenant: str | None = None, options: ChatOptions | None = None
) -> OpenAI:
    """Returns a client like `client` whose ``chat.completions.create`` takes from the limits of the model and tenant.

    It raises what `Limiter.acquire` raises. Other methods are not limited.
    """
    chat = options or ChatOptions()
    copy = client.with_options(max_retries=0)
    send = copy.chat.completions.create

    def create(**arguments: Any) -> Any:
        metering = Metering(arguments, chat)
        lease = limiter.acquire(metering.call, tenant=tenant, max_wait=chat.max_wait)
        try:
            answer = send(**metering.arguments)
        except BaseException as error:
            with lease:
                tell_failure(lease, error)
            raise
        if metering.is_stream:
            return LimitedStream(answer, lease, metering)
        with lease:
            tell_usage_of(lease, answer)
        return answer

    copy.chat.completions.create = create  # type: ignore[method-assign]
    return copy


def limited_async(
    client: AsyncOpenAI, limiter: AsyncLimiter, *, tenant: str | None = None, options: ChatOptions | None = None
) -> AsyncOpenAI:
    """Does what `limited` does, for asyncio."""
    chat = options or ChatOptions()
    copy = client.with_options(max_retries=0)
    send = copy.chat.completions.create

    async def create(**arguments: Any) -> Any:
        metering = Metering(arguments, chat)
        lease = await limiter.acquire(metering.call, tenant=tenant, max_wait=chat.max_wait)
        try:
            answer = await send(**metering.arguments)
        except BaseException as error:
            async with lease:
                tell_failure(lease, error)
            raise
        if metering.is_stream:
            return AsyncLimitedStream(answer, lease, metering)
        async with lease:
            tell_usage_of(lease, answer)
        return answer

    copy.chat.completions.create = create  # type: ignore[method-assign]
    return copy


def tell_usage_of(lease: BaseLease, answer: Any) -> None:
    """Tells a lease the usage that a completion or a chunk of one names, if any."""
    usage = getattr(answer, "usage", None)
    if usage is not None:
        tell_usage(lease, usage)


class Metering:
    """What one call reserves, sends and counts."""

    def __init__(self, arguments: dict[str, Any], options: ChatOptions) -> None:
        maximum = _whole(arguments, "max_completion_tokens") or _whole(arguments, "max_tokens")
        choices = _whole(arguments, "n") or 1
        self._reserved = (maximum or options.max_tokens) * choices
        self._step = options.max_tokens if maximum is None else None
        self._pieces = 0
        self.is_stream = arguments.get("stream") is True
        self.call: LlmCall = llm_call(
            options.provider,
            str(arguments.get("model", "")),
            arguments.get("messages", ()),
            max_tokens=self._reserved,
            estimate=options.estimate,
            limits=options.limits,
        )
        self.arguments = dict(arguments)
        self._shows_usage = True
        if self.is_stream:
            asked = arguments.get("stream_options")
            asked = dict(asked) if isinstance(asked, dict) else {}
            self._shows_usage = asked.get("include_usage") is True
            self.arguments["stream_options"] = {**asked, "include_usage": True}

    def extension(self, chunk: Any) -> int:
        """How many more tokens to reserve for a stream with this chunk, which is one token at least. Mostly 0."""
        self._pieces += len(chunk.choices)
        if self._step is None or self._pieces <= self._reserved:
            return 0
        self._reserved += self._step
        return self._step

    def is_shown(self, chunk: Any) -> bool:
        """Whether the caller asked for this chunk. Only the last one, with the usage, has no choices."""
        return self._shows_usage or bool(chunk.choices) or getattr(chunk, "usage", None) is None


class _BaseStream:
    """A stream of chunks, and the lease that ends with it."""

    def __init__(self, stream: Any, lease: Any, metering: Metering) -> None:
        self._stream = stream
        self._lease = lease
        self._metering = metering

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LimitedStream(_BaseStream):
    """A stream of OpenAI's client that settles its lease with the usage in its last chunk.

    A stream that is closed before keeps the estimate, because the provider does not say what it used.
    """

    _lease: Lease

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._stream)
            while not self._count(chunk):
                chunk = next(self._stream)
        except BaseException as error:
            with self._lease:
                tell_failure(self._lease, error)
            raise
        return chunk

    def close(self) -> None:
        """Ends the stream and its lease."""
        with self._lease:
            self._stream.close()

    def __enter__(self) -> "LimitedStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _count(self, chunk: Any) -> bool:
        tell_usage_of(self._lease, chunk)
        tokens = self._metering.extension(chunk)
        if tokens:
            # Without room the stream goes on, because the provider makes the tokens anyway: they become overage.
            with suppress(RatelimiterdError):
                self._lease.extend(tokens=tokens)
        return self._metering.is_shown(chunk)


class AsyncLimitedStream(_BaseStream):
    """Does what `LimitedStream` does, for asyncio."""

    _lease: AsyncLease

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._stream)
            while not await self._count(chunk):
                chunk = await anext(self._stream)
        except BaseException as error:
            async with self._lease:
                tell_failure(self._lease, error)
            raise
        return chunk

    async def close(self) -> None:
        """Ends the stream and its lease."""
        async with self._lease:
            await self._stream.close()

    async def __aenter__(self) -> "AsyncLimitedStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _count(self, chunk: Any) -> bool:
        tell_usage_of(self._lease, chunk)
        tokens = self._metering.extension(chunk)
        if tokens:
            with suppress(RatelimiterdError):
                await self._lease.extend(tokens=tokens)
        return self._metering.is_shown(chunk)


def _whole(arguments: dict[str, Any], name: str) -> int | None:
    """A whole number among the arguments; OpenAI's marks for "not given" are none."""
    value = arguments.get(name)
    return value if isinstance(value, int) else None
