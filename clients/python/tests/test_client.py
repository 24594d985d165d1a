"""The limiter for threads, over a real service."""

import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from calls import QUICK, Call, DefineLimit, reserved, until
from service import Fault, Proxy, Service

from ratelimiterd import (
    Denied,
    InvalidRequest,
    Lease,
    LeaseSettled,
    Left,
    Limiter,
    LimiterClosed,
    Options,
    OutcomeUnknown,
    RepeatPolicy,
    Usage,
    openai,
)
from ratelimiterd.background import Background
from ratelimiterd.flow import Flow, Pause
from ratelimiterd.protocol import Answer, Request


def test_a_lease_holds_until_its_block_ends(limiter: Limiter, limited: Call) -> None:
    with limiter.acquire(limited) as lease:
        assert limited.reserved(limiter) == (10, 1)
        assert lease.amounts == {limited.tokens: 10, limited.slots: 1}
        assert abs(lease.reserved_at.timestamp() - time.time()) < 60
        assert not lease.emergency
        lease.used(tokens=4)
    assert limited.reserved(limiter) == (4, 0)


@pytest.mark.parametrize(
    ("told", "tokens_left"),
    [
        (lambda lease: None, 10),
        (lambda lease: lease.used(tokens=4), 4),
        (lambda lease: lease.used(tokens=0), 0),
        (lambda lease: lease.used(tokens=25), 25),
        (lambda lease: (lease.used(tokens=4), lease.used(tokens=5)), 5),
        (lambda lease: lease.unused(), 0),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_told_decides_what_is_released(
    limiter: Limiter, limited: Call, told: Callable[[Lease], object], tokens_left: int, fails: bool
) -> None:
    def ask() -> None:
        with limiter.acquire(limited) as lease:
            told(lease)
            if fails:
                raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            ask()
    else:
        ask()
    assert limited.reserved(limiter) == (tokens_left, 0)


def test_a_call_to_a_model_takes_from_the_example_limits(limiter: Limiter) -> None:
    call = openai("gpt-4o-mini", [{"role": "user", "content": "Why?"}], max_tokens=500)
    with limiter.acquire(call, tenant="acme") as lease:
        assert dict(lease.amounts) == {
            "global:llm:openai:gpt-4o-mini:rpm": 1,
            "global:llm:openai:gpt-4o-mini:concurrency": 1,
            "global:llm:openai:gpt-4o-mini:tpm": 512,
            "tenant:acme:llm:daily_tokens": 512,
        }
        lease.used(tokens=740)
    assert reserved(limiter, "tenant:acme:llm:daily_tokens") == 740


@pytest.mark.parametrize("fault", ["cut", "unavailable", "silent"])
def test_an_unknown_outcome_is_granted_once_under_the_same_id(
    proxy: Proxy, limiter: Limiter, limited: Call, fault: Fault
) -> None:
    proxy.inject("/v1/reserve", fault)
    with limiter.acquire(limited) as lease:
        reserves = [seen for seen in proxy.seen if seen.path == "/v1/reserve"]
        assert [seen.lease_id for seen in reserves] == [lease.id] * 2
        assert limited.reserved(limiter) == (10, 1)


def test_a_denial_waits_for_room_under_new_ids(proxy: Proxy, limiter: Limiter, define: DefineLimit) -> None:
    key = define("concurrency", 1)
    first = limiter.acquire({key: 1})
    threading.Timer(0.2, first.complete).start()
    started = time.monotonic()
    with limiter.acquire({key: 1}, max_wait=20):
        assert time.monotonic() - started >= 0.15
    ids = [seen.lease_id for seen in proxy.seen if seen.path == "/v1/reserve"]
    assert len(ids) == len(set(ids)) >= 3


def test_a_denial_carries_what_programs_need(limiter: Limiter, define: DefineLimit) -> None:
    key = define("rolling", 5)
    limiter.acquire({key: 5}).complete()
    started = time.monotonic()
    with pytest.raises(Denied) as raised:
        limiter.acquire({key: 1}, max_wait=0.2)
    assert 0.2 <= time.monotonic() - started < 5
    denied = raised.value
    assert (denied.limiting_key, denied.reason, denied.can_never_fit) == (key, "no_room", False)
    assert denied.retry_after is not None
    assert denied.retry_after > 0
    assert key in str(denied)


def test_leases_and_denials_tell_what_is_left(service: Service, define: DefineLimit) -> None:
    key, slots = define("rolling", 5), define("concurrency", 2)
    with Limiter(service.url, replace(QUICK, report=True)) as limiter:
        with limiter.acquire({key: 3, slots: 1}) as lease:
            assert lease.left == {key: Left(5, 2, 3600.0), slots: Left(2, 1, 3600.0)}
        with pytest.raises(Denied) as raised:
            limiter.acquire({key: 3}, max_wait=0)
        assert raised.value.left == {key: Left(5, 2, 3600.0)}
        (in_batch,) = limiter.acquire_batch([{key: 1}])
        assert isinstance(in_batch, Lease)
        assert in_batch.left == {key: Left(5, 1, 3600.0)}
        in_batch.complete()
    with Limiter(service.url, QUICK) as limiter, limiter.acquire({key: 1}) as lease:
        assert lease.left == {}


@pytest.mark.parametrize(("amount", "reason"), [(6, "exceeds_capacity"), (None, "unknown_limit_key")])
def test_what_can_never_fit_is_denied_at_once(
    limiter: Limiter, define: DefineLimit, amount: int | None, reason: str
) -> None:
    key = define("rolling", 5) if amount else "test:none"
    with pytest.raises(Denied) as raised:
        limiter.acquire({key: amount or 1})
    assert (raised.value.limiting_key, raised.value.reason, raised.value.can_never_fit) == (key, reason, True)


def test_a_running_lease_is_extended(limiter: Limiter, limited: Call) -> None:
    with limiter.acquire(limited) as lease:
        lease.extend(tokens=20)
        lease.extend({limited.slots: 1})
        assert limited.reserved(limiter) == (30, 2)
        with pytest.raises(Denied):
            lease.extend(tokens=71)
        lease.used(tokens=27)
    assert limited.reserved(limiter) == (27, 0)
    with pytest.raises(LeaseSettled):
        lease.extend(tokens=1)


@pytest.mark.parametrize("fault", ["cut", "unavailable"])
def test_a_complete_is_repeated_in_the_background_until_the_limiter_is_closed(
    observer: Limiter, proxy: Proxy, limited: Call, fault: Fault
) -> None:
    with Limiter(proxy.url, QUICK) as limiter, limiter.acquire(limited) as lease:
        lease.used(tokens=4)
        proxy.inject("/v1/complete", fault, times=3)
    assert [seen.body["actuals"] for seen in proxy.seen if seen.path == "/v1/complete"] == [
        [{"key": limited.tokens, "actual_amount": 4}]
    ] * 4
    assert limited.reserved(observer) == (4, 0)


def test_a_lease_is_completed_once(proxy: Proxy, limiter: Limiter, limited: Call) -> None:
    with limiter.acquire(limited) as lease:
        lease.complete()
        lease.complete()
        del lease
    gc.collect()
    assert proxy.paths().count("/v1/complete") == 1


def test_a_forgotten_lease_releases_its_slots_and_keeps_its_tokens(limiter: Limiter, limited: Call) -> None:
    limiter.acquire(limited)
    gc.collect()
    until(lambda: limited.reserved(limiter) == (10, 0))


def test_an_attempt_without_an_answer_leaves_nothing_reserved(observer: Limiter, proxy: Proxy, limited: Call) -> None:
    proxy.inject("/v1/reserve", "cut", times=3)
    with Limiter(proxy.url, QUICK) as limiter, pytest.raises(OutcomeUnknown):
        limiter.acquire(limited, max_wait=0)
    assert limited.reserved(observer) == (0, 0)
    assert len({seen.lease_id for seen in proxy.seen}) == 1


def test_a_lease_that_outlives_its_limiter_ends_with_a_warning(
    proxy: Proxy, limited: Call, caplog: pytest.LogCaptureFixture
) -> None:
    with Limiter(proxy.url, QUICK) as limiter:
        lease = limiter.acquire(limited)
    with lease:
        pass
    assert "the limiter is closed" in caplog.text


def test_the_background_outlives_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    carried_out: list[str] = []

    def flow(name: str, fails: bool) -> Flow[None]:
        yield Pause(0.01)
        if fails:
            raise ZeroDivisionError(name)
        carried_out.append(name)

    def exchange(request: Request) -> Answer:
        raise AssertionError("no flow sends anything")

    background = Background(exchange)
    background.put(flow("first", fails=True))
    background.put(flow("second", fails=False))
    background.finish(10)
    assert carried_out == ["second"]
    assert "first" in caplog.text


def test_threads_never_hold_more_than_the_capacity(limiter: Limiter, define: DefineLimit) -> None:
    key = define("concurrency", 3)
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        for _ in range(3):
            with limiter.acquire({key: 1}):
                with lock:
                    running += 1
                    most = max(most, running)
                time.sleep(0.005)
                with lock:
                    running -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert limiter.usage(key) == Usage(available=3, reserved=0, debt=0)


def test_a_batch_has_a_lease_or_an_exception_for_each_call(proxy: Proxy, limiter: Limiter, limited: Call) -> None:
    proxy.inject("/v1/reserve", "cut")
    results = limiter.acquire_batch([limited, limited, limited, {"test:none": 1}, {"no key": 1}])
    kinds = [type(result) for result in results]
    assert kinds == [Lease, Lease, Denied, Denied, InvalidRequest]
    assert proxy.paths() == ["/v1/reserve/batch"] * 2
    leases = [result for result in results if isinstance(result, Lease)]
    assert limited.reserved(limiter) == (20, 2)
    leases[0].used(tokens=1)
    limiter.complete_batch(leases)
    assert limited.reserved(limiter) == (11, 0)
    limiter.complete_batch(leases)
    assert proxy.paths().count("/v1/complete/batch") == 1


def test_a_batch_without_an_answer_is_cancelled_in_the_background(
    observer: Limiter, proxy: Proxy, limited: Call
) -> None:
    impatient = Options(repeat=RepeatPolicy(give_up_after=0))
    proxy.inject("/v1/reserve", "cut")
    with Limiter(proxy.url, impatient) as limiter:
        results = limiter.acquire_batch([limited, limited])
    assert [type(result) for result in results] == [OutcomeUnknown] * 2
    assert limited.reserved(observer) == (0, 0)


def test_an_emergency_grant_says_so(proxy: Proxy, limiter: Limiter, limited: Call) -> None:
    proxy.rewrite = lambda answer: {**answer, "emergency": True} if answer.get("allowed") else answer
    with limiter.acquire(limited) as lease:
        assert lease.emergency


def test_closing_ends_all_waiting(proxy: Proxy, define: DefineLimit) -> None:
    limiter = Limiter(proxy.url, QUICK)
    key = define("rolling", 1)
    limiter.acquire({key: 1}).complete()
    threading.Timer(0.1, limiter.close).start()
    started = time.monotonic()
    with pytest.raises(LimiterClosed):
        limiter.acquire({key: 1})
    assert time.monotonic() - started < 4, "the hint of this denial is 5 s"
    with pytest.raises(LimiterClosed):
        limiter.acquire({key: 1})
    with pytest.raises(LimiterClosed):
        limiter.acquire_batch([{key: 1}])


@pytest.mark.parametrize(
    "misuse",
    [
        lambda limiter, key: limiter.acquire({}),
        lambda limiter, key: limiter.acquire({f"{key}:{index}": 1 for index in range(33)}),
        lambda limiter, key: limiter.acquire({key: 0}),
        lambda limiter, key: limiter.acquire({key: 2**63}),
        lambda limiter, key: limiter.acquire({key: 0.5}),
        lambda limiter, key: limiter.acquire({key: 1}, tenant="acme"),
        lambda limiter, key: limiter.acquire({"no key": 1}),
        lambda limiter, key: limiter.acquire({key: 1}).used({"other": 1}),
        lambda limiter, key: limiter.acquire({key: 1}).used({key: -1}),
        lambda limiter, key: limiter.acquire({key: 1}).used(tokens=1),
        lambda limiter, key: limiter.acquire({key: 1}).extend({"other": 1}),
        lambda limiter, key: limiter.acquire({key: 1}).extend({key: 0}),
    ],
)
def test_misuse_is_refused(limiter: Limiter, define: DefineLimit, misuse: Callable[[Limiter, str], object]) -> None:
    with pytest.raises(InvalidRequest):
        misuse(limiter, define("rolling", 100))


def test_a_complete_that_is_refused_at_the_end_of_a_block_is_logged(
    proxy: Proxy, limiter: Limiter, limited: Call, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"ok": False, "error": "invalid_request: why"}
    with caplog.at_level(logging.WARNING, "ratelimiterd"), limiter.acquire(limited):
        proxy.rewrite = lambda answer: refusal
    assert "why" in caplog.text
    proxy.rewrite = lambda answer: answer
    lease = limiter.acquire(limited)
    proxy.rewrite = lambda answer: refusal
    with pytest.raises(InvalidRequest):
        lease.complete()
