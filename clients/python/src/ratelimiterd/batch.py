"""Many reserves or completes in one request: several flows together, and the calls of many asyncio tasks."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import OutcomeUnknown, RatelimiterdError
from .flow import Flow, Pause, Send
from .protocol import COMPLETE, RESERVE, Answer, Request

T = TypeVar("T")

_ITEMS_MAX = 256  # what a service takes by default
_BYTES_MAX = 900_000  # a service takes 1 MiB


@dataclass(frozen=True)
class BatchOptions:
    """How an `AsyncLimiter` sends the calls of many tasks together.

    Load forms the batches: an idle limiter sends a call at once. While `calls_in_flight_max` calls are under way, the
    next batch fills.
    """

    calls_in_flight_max: int = 4
    """The most calls of each kind at a time: reserves, and completes."""


def batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Splits requests into batches that a service takes, in order."""
    batch: list[Request] = []
    length = 0
    for request in requests:
        length += len(request.body or "") + 1
        if batch and (len(batch) == _ITEMS_MAX or length > _BYTES_MAX):
            yield batch
            batch, length = [], len(request.body or "") + 1
        batch.append(request)
    if batch:
        yield batch


def batch_request(batch: Sequence[Request]) -> Request:
    """The request that carries several reserves, or several completes."""
    items = ",".join(request.body or "" for request in batch)
    return Request(f"{batch[0].path}/batch", f'{{"requests":[{items}]}}')


def split_answer(answer: Answer, count: int) -> list[Answer]:
    """The answers to the items of a batch. An answer without items is the answer to each."""
    if answer.status != 200:
        return [answer] * count
    results = answer.body.get("results") if isinstance(answer.body, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise OutcomeUnknown(f"the answer to a batch does not have {count} results")
    return [Answer(200, result) for result in results]


def run_together(
    flows: Sequence[Flow[T]],
    exchange: Callable[[Sequence[Request]], Sequence[Answer | OutcomeUnknown]],
    pause: Callable[[float], None],
) -> list[T | RatelimiterdError]:
    """Carries out flows in step, so that their requests travel together. Returns the result or exception of each."""
    courses = [_Course(flow) for flow in flows]
    try:
        while running := [course for course in courses if course.step is not None]:
            sending = [course for course in running if isinstance(course.step, Send)]
            answers = exchange([course.step.request for course in sending if isinstance(course.step, Send)])
            seconds = max((course.step.seconds for course in running if isinstance(course.step, Pause)), default=0.0)
            if seconds > 0:
                pause(seconds)
            for course in running:
                if course not in sending:
                    course.advance(None)
            for course, answer in zip(sending, answers, strict=True):
                course.advance(answer)
    finally:
        # If it is interrupted, each flow finds out its outcome in the background.
        for course in courses:
            course.flow.close()
    return [course.result for course in courses]


class _Course(Generic[T]):
    """How far a flow has come."""

    step: Send | Pause | None
    """What it waits for; ``None`` at its end."""
    result: T | RatelimiterdError

    def __init__(self, flow: Flow[T]) -> None:
        self.flow = flow
        self.advance(None)

    def advance(self, outcome: Answer | OutcomeUnknown | None) -> None:
        """Goes on with the outcome of the step."""
        try:
            self.step = self.flow.throw(outcome) if isinstance(outcome, OutcomeUnknown) else self.flow.send(outcome)
        except StopIteration as end:
            self.step, self.result = None, end.value
        except RatelimiterdError as error:
            self.step, self.result = None, error


class Batcher:
    """Sends the reserves and completes of many asyncio tasks together."""

    def __init__(self, exchange: Callable[[Request], Awaitable[Answer]], options: BatchOptions) -> None:
        self._exchange = exchange
        self._lanes = {path: _Lane(exchange, options.calls_in_flight_max) for path in (RESERVE, COMPLETE)}

    async def exchange(self, request: Request) -> Answer:
        """Sends a request, with others if it can be an item of a batch."""
        lane = self._lanes.get(request.path)
        return await (self._exchange(request) if lane is None else lane.exchange(request))


class _Lane:
    """The queue of the requests of one kind."""

    def __init__(self, exchange: Callable[[Request], Awaitable[Answer]], calls_in_flight_max: int) -> None:
        self._exchange = exchange
        self._calls_in_flight_max = calls_in_flight_max
        self._waiting: deque[tuple[Request, asyncio.Future[Answer]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def exchange(self, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((request, answer))
        # Tasks that run before the next turn of the loop join the batch.
        loop.call_soon(self._send_waiting)
        return await answer

    def _send_waiting(self) -> None:
        while self._waiting and len(self._calls) < self._calls_in_flight_max:
            batch = self._take()
            if batch:
                call = asyncio.get_running_loop().create_task(self._send(batch))
                self._calls.add(call)
                call.add_done_callback(self._call_ended)

    def _take(self) -> list[tuple[Request, "asyncio.Future[Answer]"]]:
        """The next batch, without requests whose tasks were cancelled: nothing waits for them."""
        waiting = [item for item in self._waiting if not item[1].done()]
        first = next(batches([request for request, _ in waiting]), [])
        self._waiting = deque(waiting[len(first) :])
        return waiting[: len(first)]

    async def _send(self, batch: "list[tuple[Request, asyncio.Future[Answer]]]") -> None:
        requests = [request for request, _ in batch]
        try:
            if len(batch) == 1:
                answers = [await self._exchange(requests[0])]
            else:
                answers = split_answer(await self._exchange(batch_request(requests)), len(batch))
        except Exception as error:
            for _, waiter in batch:
                if not waiter.done():
                    unknown = OutcomeUnknown(str(error))
                    unknown.__cause__ = error
                    waiter.set_exception(unknown)
        else:
            for (_, waiter), answer in zip(batch, answers, strict=True):
                if not waiter.done():
                    waiter.set_result(answer)

    def _call_ended(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._send_waiting()
