"""The limiter for asyncio, over a real service."""

import asyncio
import gc
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from calls import QUICK, Call, DefineLimit, reserved, until
from service import Fault, Proxy

from ratelimiterd import (
    AsyncLease,
    AsyncLimiter,
    BatchOptions,
    Denied,
    Forbidden,
    InvalidRequest,
    LeaseSettled,
    Limiter,
    LimiterClosed,
    Options,
    OutcomeUnknown,
    RepeatPolicy,
    Usage,
)
from ratelimiterd.batch import Batcher
from ratelimiterd.protocol import RESERVE, Answer, Request


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test, at most 20 seconds."""
    asyncio.run(asyncio.wait_for(main, 20))


@pytest.mark.parametrize("batch", [None, BatchOptions()])
def test_a_lease_holds_until_its_block_ends(
    proxy: Proxy, observer: Limiter, limited: Call, batch: BatchOptions | None
) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK, batch=batch) as limiter:
            async with limiter.acquire(limited) as lease:
                assert limited.reserved(observer) == (10, 1)
                lease.used(tokens=4)
            assert limited.reserved(observer) == (4, 0)
            assert await limiter.usage(limited.tokens) == Usage(available=96, reserved=4, debt=0)

    run(main())


@pytest.mark.parametrize("fault", ["cut", "unavailable", "silent"])
def test_an_unknown_outcome_is_granted_once_under_the_same_id(
    proxy: Proxy, observer: Limiter, limited: Call, fault: Fault
) -> None:
    async def main() -> None:
        proxy.inject("/v1/reserve", fault)
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            lease = await limiter.acquire(limited)
            assert [seen.lease_id for seen in proxy.seen] == [lease.id] * 2
            assert limited.reserved(observer) == (10, 1)
            await lease.complete()
            await lease.complete()
        assert proxy.paths().count("/v1/complete") == 1

    run(main())


def test_a_denial_waits_for_room_until_the_deadline(proxy: Proxy, define: DefineLimit) -> None:
    key = define("concurrency", 1)

    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            first = await limiter.acquire({key: 1})
            with pytest.raises(Denied) as raised:
                await limiter.acquire({key: 1}, max_wait=0.2)
            assert (raised.value.limiting_key, raised.value.can_never_fit) == (key, False)
            waiting = asyncio.ensure_future(limiter.acquire({key: 1}))
            await asyncio.sleep(0.05)
            await first.complete()
            await (await waiting).complete()
        ids = [seen.lease_id for seen in proxy.seen if seen.path == "/v1/reserve"]
        assert len(set(ids)) == len(ids)

    run(main())


@pytest.mark.parametrize("batch", [None, BatchOptions()])
def test_a_cancelled_acquire_leaves_nothing_reserved(
    proxy: Proxy, observer: Limiter, limited: Call, batch: BatchOptions | None
) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, Options(repeat=QUICK.repeat), batch=batch) as limiter:
            proxy.inject("/v1/reserve", "silent")
            acquiring = asyncio.ensure_future(limiter.acquire(limited))
            await asyncio.to_thread(until, lambda: limited.reserved(observer) == (10, 1))
            acquiring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await acquiring
        assert limited.reserved(observer) == (0, 0)
        assert len({seen.lease_id for seen in proxy.seen}) == 1

    run(main())


def test_a_task_that_is_cancelled_in_its_block_completes_its_lease(
    proxy: Proxy, observer: Limiter, limited: Call
) -> None:
    async def work(limiter: AsyncLimiter) -> None:
        async with limiter.acquire(limited) as lease:
            lease.used(tokens=4)
            await asyncio.sleep(60)

    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            working = asyncio.create_task(work(limiter))
            await asyncio.to_thread(until, lambda: limited.reserved(observer) == (10, 1))
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            assert limited.reserved(observer) == (4, 0)

    run(main())


def test_a_complete_that_is_cancelled_goes_on_in_the_background(proxy: Proxy, observer: Limiter, limited: Call) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            lease = await limiter.acquire(limited)
            proxy.inject("/v1/complete", "unavailable", times=2)
            completing = asyncio.create_task(lease.complete())
            await asyncio.sleep(0)
            completing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await completing
        assert limited.reserved(observer) == (10, 0)

    run(main())


def test_closing_waits_for_completes_and_ends_waiting(
    proxy: Proxy, observer: Limiter, limited: Call, define: DefineLimit
) -> None:
    full = define("rolling", 1)

    async def main() -> None:
        limiter = AsyncLimiter(proxy.url, QUICK)
        leases = [await limiter.acquire(limited), await limiter.acquire(limited)]
        await (await limiter.acquire({full: 1})).complete()
        waiting = asyncio.ensure_future(limiter.acquire({full: 1}))
        proxy.inject("/v1/complete", "unavailable", times=20)
        for lease in leases:
            lease.unused()
            await lease.complete()
        closing = asyncio.create_task(limiter.close())
        with pytest.raises(LimiterClosed):
            await waiting
        with pytest.raises(LimiterClosed):
            await limiter.acquire(limited)
        assert not closing.done()
        await closing
        assert limited.reserved(observer) == (0, 0)

    run(main())


@pytest.mark.parametrize("on_other_thread", [False, True])
def test_a_forgotten_lease_is_completed(proxy: Proxy, observer: Limiter, limited: Call, on_other_thread: bool) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            held: list[AsyncLease] = [await limiter.acquire(limited)]
            if on_other_thread:
                thread = threading.Thread(target=held.clear)
                thread.start()
                thread.join()
            else:
                held.clear()
            gc.collect()
        assert limited.reserved(observer) == (10, 0)

    run(main())


def test_a_running_lease_is_extended(proxy: Proxy, observer: Limiter, limited: Call) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            async with limiter.acquire(limited) as lease:
                await lease.extend(tokens=20)
                assert limited.reserved(observer) == (30, 1)
            with pytest.raises(LeaseSettled):
                await lease.extend(tokens=1)

    run(main())


def test_the_calls_of_many_tasks_travel_together(proxy: Proxy, observer: Limiter, define: DefineLimit) -> None:
    key = define("rolling", 100)

    async def work(limiter: AsyncLimiter) -> None:
        async with limiter.acquire({key: 1}) as lease:
            lease.used({key: 0})

    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            proxy.inject("/v1/reserve/batch", "cut")
            await asyncio.gather(*(work(limiter) for _ in range(50)))
            await work(limiter)
        assert reserved(observer, key) == 0
        reserves = [seen for seen in proxy.seen if seen.path == "/v1/reserve/batch"]
        assert len(reserves[0].body["requests"]) == 50
        assert len(proxy.seen) < 30
        ids = {item["lease_id"] for seen in reserves for item in seen.body["requests"]}
        assert len(ids) == 50
        assert proxy.paths()[-2:] == ["/v1/reserve", "/v1/complete"]

    run(main())


def test_without_batches_each_call_is_a_request(proxy: Proxy, define: DefineLimit) -> None:
    key = define("concurrency", 100)

    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK, batch=None) as limiter:
            leases = await asyncio.gather(*(limiter.acquire({key: 1}) for _ in range(40)))
            await asyncio.gather(*(lease.complete() for lease in leases))
        assert proxy.paths() == ["/v1/reserve"] * 40 + ["/v1/complete"] * 40

    run(main())


def test_each_call_of_a_batch_has_its_own_outcome(proxy: Proxy, limited: Call) -> None:
    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK, batch=BatchOptions(calls_in_flight_max=1)) as limiter:
            calls: list[Call | dict[str, int]] = [limited, limited, limited, {"test:none": 1}, {"no key": 1}]
            results = await asyncio.gather(
                *(limiter.acquire(call, max_wait=0) for call in calls), return_exceptions=True
            )
            assert [type(result) for result in results] == [AsyncLease, AsyncLease, Denied, Denied, InvalidRequest]
            assert proxy.paths() == ["/v1/reserve/batch"]

    run(main())


def test_a_batch_without_an_answer_is_unknown_to_each_of_its_calls(
    proxy: Proxy, observer: Limiter, limited: Call
) -> None:
    async def main() -> None:
        options = Options(repeat=RepeatPolicy(give_up_after=0))
        async with AsyncLimiter(proxy.url, options) as limiter:
            proxy.inject("/v1/reserve", "cut")
            acquires = (limiter.acquire(limited) for _ in range(2))
            results = await asyncio.gather(*acquires, return_exceptions=True)
            assert [type(result) for result in results] == [OutcomeUnknown] * 2
        assert limited.reserved(observer) == (0, 0)

    run(main())


def test_a_call_that_was_cancelled_in_the_queue_is_not_sent() -> None:
    sent: list[str | None] = []

    async def main() -> None:
        is_released = asyncio.Event()

        async def exchange(request: Request) -> Answer:
            sent.append(request.body)
            await is_released.wait()
            return Answer(200, {})

        batcher = Batcher(exchange, BatchOptions(calls_in_flight_max=1))
        calls = []
        for body in ("first", "cancelled", "last"):
            calls.append(asyncio.create_task(batcher.exchange(Request(RESERVE, body))))
            await asyncio.sleep(0.01)
        calls.pop(1).cancel()
        is_released.set()
        await asyncio.gather(*calls)

    run(main())
    assert sent == ["first", "last"]


def test_a_refused_complete_is_raised_or_logged(proxy: Proxy, limited: Call, caplog: pytest.LogCaptureFixture) -> None:
    refusal = {"ok": False, "error": "forbidden: why"}

    async def main() -> None:
        async with AsyncLimiter(proxy.url, QUICK) as limiter:
            first, second = await limiter.acquire(limited), await limiter.acquire(limited)
            proxy.rewrite = lambda answer: refusal
            async with first:
                pass
            assert "why" in caplog.text
            with pytest.raises(Forbidden):
                await second.complete()

    run(main())
