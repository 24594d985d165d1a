"""The course of each operation, without input and output: what to send, when to pause, what to do with the answer.

A flow is a generator. It yields steps, and the limiter that drives it carries them out, with threads or with asyncio.
Failures, and interruptions such as a cancelled task, are raised in the flow at the step. So both limiters behave the
same.
"""

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from .errors import CallRefused, Denied, LeaseConflict, LeaseExpired, LeaseSettled, OutcomeUnknown
from .protocol import Answer, Granted, Request, Reserve, Usage, read_complete, read_reserve, read_usage, usage_request
from .wants import Wants

T = TypeVar("T")

_LATE_GRANTS_MAX = 3  # how often one attempt is made when each grant expires before its answer arrives
_HINT_SECONDS_MAX = 60.0  # an operator may raise a limit long before the hint of a denial has passed
_HINT_JITTER = 0.1
_PAUSE_SECONDS_MIN = 0.001  # a hint of 0 must not make a busy loop


@dataclass(frozen=True)
class Send:
    """The step that sends a request. Its result is the answer; no answer is raised as `OutcomeUnknown`."""

    request: Request


@dataclass(frozen=True)
class Pause:
    """The step that waits."""

    seconds: float


Flow = Generator[Send | Pause, Answer | None, T]


@dataclass(frozen=True)
class RepeatPolicy:
    """When a call of unknown outcome is repeated.

    Each pause is shortened at random by up to a half, so that callers that failed together do not repeat together.
    """

    first_pause: float = 0.05
    """Seconds. Each further pause is twice as long."""
    pause_max: float = 2.0
    """The longest pause, in seconds."""
    give_up_after: float = 30.0
    """For how many seconds after the first attempt repetitions may begin. 0 means no repetition."""


@dataclass(frozen=True)
class Grant:
    """What an attempt reserved."""

    reserve: Reserve
    granted: Granted


class Flows:
    """Makes the flows of one limiter."""

    def __init__(
        self,
        policy: RepeatPolicy,
        in_background: Callable[[Flow[None]], None],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        report: bool = False,
    ) -> None:
        self._policy = policy
        self._in_background = in_background
        self._clock = clock
        self._chance = chance
        self._report = report

    def acquire(self, wants: Wants, job_id: str, max_wait: float | None) -> Flow[Grant]:
        """Reserves, and asks again when the hint of a denial has passed. The last attempt begins at the deadline.

        The service cannot hold back an answer yet. When it can, `max_wait` goes along with the reserve, and the pause
        here becomes the fallback for older services.
        """
        deadline = None if max_wait is None else self._clock() + max_wait
        while True:
            result = yield from self.attempt(wants, job_id, deadline)
            if isinstance(result, Grant):
                return result
            if result.retry_after is None or (deadline is not None and deadline <= self._clock()):
                raise result
            pause = min(result.retry_after, _HINT_SECONDS_MAX)
            if result.retry_after_source == "estimate":
                # The service spreads exact hints by itself.
                pause *= 1 + _HINT_JITTER * self._chance()
            if deadline is not None:
                pause = min(pause, deadline - self._clock())
            yield Pause(max(pause, _PAUSE_SECONDS_MIN))

    def attempt(self, wants: Wants, job_id: str, deadline: float | None = None) -> Flow[Grant | Denied]:
        """Reserves once, under a fresh lease id. If the outcome stays unknown, it is found out in the background."""
        for _ in range(_LATE_GRANTS_MAX):
            reserve = Reserve.fresh(wants, job_id, self._report)
            try:
                result = yield from self._repeat(reserve.request(), read_reserve, deadline)
            except LeaseExpired as error:
                # The id is fresh, so a part of the grant expired before its answer arrived. The rest is released.
                self._in_background(self.complete(reserve.cancel()))
                late = error
            except CallRefused:
                raise
            except BaseException:  # cancelled, interrupted or without an answer: the grant may exist
                self._in_background(self._resolve(reserve))
                raise
            else:
                return result if isinstance(result, Denied) else Grant(reserve, result)
        raise late

    def extend(self, request: Request) -> Flow[None]:
        """Reserves more for a lease. A denial is raised."""
        result = yield from self._repeat(request, read_reserve)
        if isinstance(result, Denied):
            raise result

    def usage(self, key: str) -> Flow[Usage | None]:
        """Asks how a limit is used."""
        return (yield from self._repeat(usage_request(key), read_usage))

    def settle(self, complete: Request) -> Flow[None]:
        """Completes a lease. It asks once; the repetitions, if any, are made in the background."""
        try:
            answer = yield Send(complete)
            read_complete(_received(answer))
        except OutcomeUnknown:
            self._in_background(self.complete(complete))
        except CallRefused:
            raise
        except BaseException:  # cancelled or interrupted
            self._in_background(self.complete(complete))
            raise

    def complete(self, complete: Request) -> Flow[None]:
        """Completes a lease, and repeats that while the outcome is unknown."""
        yield from self._repeat(complete, read_complete)

    def _resolve(self, reserve: Reserve) -> Flow[None]:
        """Finds out the outcome of a reserve that nobody waits for, and cancels what was granted."""
        try:
            result = yield from self._repeat(reserve.request(), read_reserve)
            if isinstance(result, Denied):
                return
            served_by = result.served_by
        except LeaseExpired:
            served_by = ""  # a complete releases what is left of it
        except (LeaseConflict, LeaseSettled):
            return
        yield from self.complete(reserve.cancel(served_by))

    def _repeat(self, request: Request, read: Callable[[Answer], T], deadline: float | None = None) -> Flow[T]:
        """Sends a request until its outcome is known or the policy gives up."""
        give_up_at = self._clock() + self._policy.give_up_after
        if deadline is not None:
            give_up_at = min(give_up_at, deadline)
        pause = self._policy.first_pause
        while True:
            try:
                return read(_received((yield Send(request))))
            except OutcomeUnknown:
                seconds = pause * (1 - self._chance() / 2)
                if self._clock() + seconds > give_up_at:
                    raise
            yield Pause(seconds)
            pause = min(2 * pause, self._policy.pause_max)


def _received(answer: Answer | None) -> Answer:
    """The answer to a request that was sent; whoever drives a flow must give it one."""
    if answer is None:
        raise TypeError("a flow was resumed without the answer to its request")
    return answer
