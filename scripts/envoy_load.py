"""Measures the time of Envoy's calls: `scripts/test-envoy --load SECONDS`.

First it finds how many calls a second this client and the service make together, then it sends half as many, each at its
own moment whether or not earlier ones are answered, and counts the time from that moment. So a pause of the service shows
in every call that falls into it.
"""

import asyncio
import itertools
import time

import grpc

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
CALLERS = 64
WARM_UP_SECONDS = 2
# Envoy gives up a call after this time by default.
ENVOY_TIMEOUT_MS = 20


async def measure(address, seconds, rls, common):
    """The calls a second of both parts, and the milliseconds of each call of the second."""
    async with grpc.aio.insecure_channel(address) as channel:
        answer = rls.RateLimitResponse.FromString
        ask = channel.unary_unary(METHOD, rls.RateLimitRequest.SerializeToString, answer)
        tenants = itertools.count()

        async def one():
            entry = common.RateLimitDescriptor.Entry(key="tenant", value=f"load-{next(tenants) % 100}")
            descriptors = [common.RateLimitDescriptor(entries=[entry])]
            await ask(rls.RateLimitRequest(domain="edge", descriptors=descriptors))

        async def ask_until(deadline):
            calls = 0
            while time.monotonic() < deadline:
                await one()
                calls += 1
            return calls

        await asyncio.gather(*(ask_until(time.monotonic() + WARM_UP_SECONDS) for _ in range(CALLERS)))
        begun = time.monotonic()
        calls = sum(await asyncio.gather(*(ask_until(begun + seconds) for _ in range(CALLERS))))
        full = calls / (time.monotonic() - begun)
        return full, await at_rate(one, full / 2, seconds)


async def at_rate(one, rate, seconds):
    """Makes calls at a steady rate, and returns the milliseconds of each from the moment at which it was due."""
    milliseconds, running = [], set()

    async def timed(due):
        await one()
        milliseconds.append((time.monotonic() - due) * 1000)

    begun = time.monotonic()
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0, due - time.monotonic()))
        call = asyncio.create_task(timed(due))
        running.add(call)
        call.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return milliseconds


def report(address, seconds, rls, common):
    full, milliseconds = asyncio.run(measure(address, seconds, rls, common))
    milliseconds.sort()
    at = lambda share: milliseconds[min(len(milliseconds) - 1, int(len(milliseconds) * share))]
    late = sum(ms > ENVOY_TIMEOUT_MS for ms in milliseconds) / len(milliseconds)
    print(f"full load: {full:.0f} calls/s with {CALLERS} callers")
    print(f"half load: {len(milliseconds) / seconds:.0f} calls/s for {seconds} s")
    for name, share in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1)]:
        print(f"{name:>9}: {at(share):.2f} ms")
    print(f"above {ENVOY_TIMEOUT_MS} ms, where Envoy gives up by default: {late:.3%}")
