"""OpenAI's client over a fake provider, limited by a real service."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from calls import QUICK, DefineLimit, reserved
from provider import Provider

from ratelimiterd import AsyncLimiter, Denied, Limiter, LlmLimits, PriceTable
from ratelimiterd.integrations.openai import ChatOptions, limited, limited_async

MESSAGES: Any = [{"role": "user", "content": "Why?"}]
PROMPT_TOKENS = 12  # the estimate for these messages

_models = itertools.count()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


class Model:
    """A model with limits of its own, and a tenant."""

    def __init__(self, define: DefineLimit) -> None:
        self.name = f"model-{next(_models)}"
        self.tenant = f"of-{self.name}"
        prefix = f"global:llm:openai:{self.name}"
        self.rpm = define("rolling", 5, f"{prefix}:rpm")
        self.tpm = define("rolling", 1_000, f"{prefix}:tpm")
        self.slots = define("concurrency", 5, f"{prefix}:concurrency")
        self.daily = define("rolling", 5_000, f"tenant:{self.tenant}:llm:daily_tokens")

    def reserved(self, limiter: Limiter) -> tuple[int, int, int, int]:
        """What is reserved of requests, tokens, slots, and tokens of the tenant."""
        rpm, tpm, slots, daily = (reserved(limiter, key) for key in (self.rpm, self.tpm, self.slots, self.daily))
        return rpm, tpm, slots, daily


@pytest.fixture
def model(define: DefineLimit) -> Model:
    return Model(define)


def client_of(provider: Provider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.url, api_key="none")


def test_a_completion_is_settled_with_its_usage(provider: Provider, limiter: Limiter, model: Model) -> None:
    with client_of(provider) as plain:
        client = limited(plain, limiter, tenant=model.tenant)
        completion = client.chat.completions.create(model=model.name, messages=MESSAGES, max_tokens=100)
        assert completion.usage is not None
        assert provider.requests == [{"model": model.name, "messages": MESSAGES, "max_tokens": 100}]
        assert model.reserved(limiter) == (1, 42, 0, 42)
        plain.chat.completions.create(model=model.name, messages=MESSAGES)
        assert model.reserved(limiter) == (1, 42, 0, 42)


@pytest.mark.parametrize("asks_for_usage", [False, True])
def test_a_stream_is_settled_with_the_usage_in_its_last_chunk(
    provider: Provider, limiter: Limiter, model: Model, asks_for_usage: bool
) -> None:
    stream_options: Any = {"include_usage": True} if asks_for_usage else openai.omit
    with client_of(provider) as plain:
        stream = limited(plain, limiter).chat.completions.create(
            model=model.name, messages=MESSAGES, max_tokens=100, stream=True, stream_options=stream_options
        )
        first = next(iter(stream))
        assert model.reserved(limiter) == (1, PROMPT_TOKENS + 100, 1, 0)
        chunks = [first, *stream]
        assert [chunk.choices[0].delta.content for chunk in chunks if chunk.choices] == ["word "] * 3
        assert len(chunks) == 3 + asks_for_usage
        assert provider.requests[0]["stream_options"] == {"include_usage": True}
        assert stream.response.status_code == 200
    assert model.reserved(limiter) == (1, 42, 0, 0)


def priced(model: Model) -> LlmLimits:
    """Token types and money; a token of input costs 2, a cached one 0.5, and one of output 10 millionths."""
    rates = {"input": 2_000_000, "cached_input": 500_000, "output": 10_000_000}
    row = {"provider": "openai", "model": model.name, "micros_per_million_tokens": rates}
    return LlmLimits(token_types=True, prices=PriceTable.parse(json.dumps({"currency": "USD", "prices": [row]})))


@pytest.mark.parametrize("stream", [False, True])
def test_token_types_and_money_are_reserved_and_settled(
    provider: Provider, limiter: Limiter, model: Model, define: DefineLimit, stream: bool
) -> None:
    prefix = f"global:llm:openai:{model.name}"
    keys = [define("rolling", 500, f"{prefix}:{name}") for name in ("input_tpm", "cached_input_tpm", "output_tpm")]
    keys.append(define("rolling", 5_000, f"tenant:{model.tenant}:llm:cost:usd", unit="USD", unit_micros=1))
    provider.cached_tokens = 1
    with client_of(provider) as plain:
        client = limited(plain, limiter, tenant=model.tenant, options=ChatOptions(max_tokens=2, limits=priced(model)))
        answer = client.chat.completions.create(model=model.name, messages=MESSAGES, stream=stream)
        if stream:
            seen = [[reserved(limiter, key) for key in keys] for _ in answer]
            # Twelve tokens of the prompt, and two of output, then two more.
            assert seen == [[12, 12, 2, 44]] * 2 + [[12, 12, 4, 64]]
    # One cached token, and 41 of output.
    assert [reserved(limiter, key) for key in keys] == [0, 1, 41, 411]
    assert model.reserved(limiter) == (1, 42, 0, 42)


def test_a_refused_call_costs_nothing(provider: Provider, limiter: Limiter, model: Model, define: DefineLimit) -> None:
    cost = define("rolling", 5_000, f"tenant:{model.tenant}:llm:cost:usd")
    limits = LlmLimits(prices=priced(model).prices)
    provider.status = 400
    with client_of(provider) as plain:
        client = limited(plain, limiter, tenant=model.tenant, options=ChatOptions(limits=limits, max_tokens=100))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model=model.name, messages=MESSAGES)
    assert reserved(limiter, cost) == 0


def test_a_usage_that_contradicts_itself_fails_no_call(
    provider: Provider, limiter: Limiter, model: Model, define: DefineLimit
) -> None:
    cost = define("rolling", 20_000, f"tenant:{model.tenant}:llm:cost:usd")
    limits = LlmLimits(prices=priced(model).prices)
    provider.cached_tokens = 1_000
    with client_of(provider) as plain:
        client = limited(plain, limiter, tenant=model.tenant, options=ChatOptions(limits=limits))
        client.chat.completions.create(model=model.name, messages=MESSAGES, max_tokens=100)
    assert model.reserved(limiter) == (1, 42, 0, 42)
    assert reserved(limiter, cost) == 12 * 2 + 100 * 10, "the estimate stays"


def test_a_stream_that_is_closed_early_keeps_the_estimate(provider: Provider, limiter: Limiter, model: Model) -> None:
    with (
        client_of(provider) as plain,
        limited(plain, limiter).chat.completions.create(
            model=model.name, messages=MESSAGES, max_tokens=100, stream=True
        ) as stream,
    ):
        next(iter(stream))
    assert model.reserved(limiter) == (1, PROMPT_TOKENS + 100, 0, 0)


def test_a_stream_without_a_maximum_extends_its_lease(provider: Provider, limiter: Limiter, model: Model) -> None:
    provider.pieces, provider.total_tokens = 25, 30
    with client_of(provider) as plain:
        client = limited(plain, limiter, options=ChatOptions(max_tokens=10))
        stream = client.chat.completions.create(model=model.name, messages=MESSAGES, stream=True)
        seen = [model.reserved(limiter)[1] - PROMPT_TOKENS for _ in stream]
    assert seen == [10] * 10 + [20] * 10 + [30] * 5
    assert model.reserved(limiter) == (1, 30, 0, 0)


def test_a_stream_goes_on_when_its_lease_cannot_be_extended(provider: Provider, limiter: Limiter, model: Model) -> None:
    provider.pieces = 600
    with client_of(provider) as plain:
        client = limited(plain, limiter, options=ChatOptions(max_tokens=500))
        stream = client.chat.completions.create(model=model.name, messages=MESSAGES, stream=True)
        assert len(list(stream)) == 600
    assert model.reserved(limiter) == (1, 42, 0, 0)


@pytest.mark.parametrize(
    ("status", "kind", "tokens_left"),
    [
        (400, openai.BadRequestError, 0),
        (429, openai.RateLimitError, 0),
        (408, openai.APIStatusError, 112),
        (500, openai.InternalServerError, 112),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_call_releases_its_tokens_and_a_failed_one_keeps_them(
    provider: Provider, limiter: Limiter, model: Model, status: int, kind: Any, tokens_left: int, stream: bool
) -> None:
    provider.status = status
    with client_of(provider) as plain, pytest.raises(kind):
        limited(plain, limiter).chat.completions.create(
            model=model.name, messages=MESSAGES, max_completion_tokens=100, stream=stream
        )
    assert len(provider.requests) == 1
    assert model.reserved(limiter) == (1, tokens_left, 0, 0)


def test_a_denied_call_does_not_reach_the_provider(provider: Provider, limiter: Limiter, model: Model) -> None:
    with client_of(provider) as plain, pytest.raises(Denied) as raised:
        limited(plain, limiter).chat.completions.create(model=model.name, messages=MESSAGES, max_tokens=300, n=4)
    assert raised.value.limiting_key == model.tpm
    assert provider.requests == []


def test_the_asynchronous_client_is_limited_alike(
    provider: Provider, service: Any, limiter: Limiter, model: Model
) -> None:
    async def main() -> None:
        plain = openai.AsyncOpenAI(base_url=provider.url, api_key="none")
        async with plain, AsyncLimiter(service.url, QUICK) as async_limiter:
            client = limited_async(plain, async_limiter, tenant=model.tenant, options=ChatOptions(max_tokens=2))
            completion = await client.chat.completions.create(model=model.name, messages=MESSAGES)
            assert completion.usage is not None
            assert model.reserved(limiter) == (1, 42, 0, 42)
            stream = await client.chat.completions.create(model=model.name, messages=MESSAGES, stream=True)
            assert len([chunk async for chunk in stream]) == 3
            assert model.reserved(limiter) == (2, 84, 0, 84)
            async with await client.chat.completions.create(model=model.name, messages=MESSAGES, stream=True) as stream:
                extended = [model.reserved(limiter)[1] - 84 - PROMPT_TOKENS async for _ in stream]
            assert extended == [2, 2, 4]
            async with await client.chat.completions.create(model=model.name, messages=MESSAGES, stream=True) as stream:
                await anext(aiter(stream))
            assert model.reserved(limiter) == (4, 126 + PROMPT_TOKENS + 2, 0, 126 + PROMPT_TOKENS + 2)
            provider.status = 400
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model=model.name, messages=MESSAGES)
        assert model.reserved(limiter)[0] == 5
        assert model.reserved(limiter)[1:] == (126 + PROMPT_TOKENS + 2, 0, 126 + PROMPT_TOKENS + 2)

    asyncio.run(main())
