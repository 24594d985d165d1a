"""The limiter for threads."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import httpx

from .background import Background
from .batch import batch_request, batches, run_together, split_answer
from .errors import LimiterClosed, OutcomeUnknown, RatelimiterdError
from .flow import Flow, Flows, Grant, Pause, Send
from .http import Options, answer_of, client_arguments, no_answer, request_arguments
from .lease import Lease
from .protocol import Answer, Request, Usage
from .wants import Call, wants_of

T = TypeVar("T")


class Limiter:
    """Acquires leases of a service. Threads may share one; processes may not.

    It has a thread of its own, which a fork does not copy: make the limiter after the fork. Close it, or use it in a
    ``with`` block, so that the last completes are sent.
    """

    def __init__(self, url: str, options: Options | None = None) -> None:
        options = options or Options()
        self._http = httpx.Client(**client_arguments(url, options))
        self._closed = threading.Event()
        self._background = Background(self._exchange)
        self._flows = Flows(options.repeat, self.in_background, report=options.report)

    def acquire(
        self,
        call: Mapping[str, int] | Call,
        *,
        tenant: str | None = None,
        max_wait: float | None = None,
        job_id: str = "",
    ) -> Lease:
        """Waits until everything is reserved.

        `call` is a call such as ``openai(...)``, with `tenant` for its daily budget, or amounts by limit key.
        `max_wait` is the most seconds to wait for room: 0 asks once, ``None`` waits for as long as it takes. An attempt
        under way is not cut off. `job_id` is for the logs of the service.

        Raises `Denied` if there is no room in time or never will be, `OutcomeUnknown` if the service does not answer,
        `CallRefused` if it refuses the call, and `LimiterClosed`. Nothing stays reserved then.
        """
        self._check_open()
        grant = self.run(self._flows.acquire(wants_of(call, tenant), job_id, max_wait))
        return Lease(self, self._flows, grant)

    def acquire_batch(
        self, calls: Sequence[Mapping[str, int] | Call], *, tenant: str | None = None, job_id: str = ""
    ) -> list[Lease | RatelimiterdError]:
        """Asks once for each call, all in one request. Returns a lease or the exception of each, in order."""
        self._check_open()
        results = self._run_together([self._flows.attempt(wants_of(call, tenant), job_id) for call in calls])
        return [Lease(self, self._flows, result) if isinstance(result, Grant) else result for result in results]

    def complete_batch(self, leases: Iterable[Lease]) -> None:
        """Ends leases, all in one request. If the service does not answer, it is repeated in the background.

        Raises the first `CallRefused`, if any, after all others are completed.
        """
        results = self._run_together([flow for lease in leases if (flow := lease.ending()) is not None])
        for result in results:
            if result is not None:
                raise result

    def usage(self, key: str) -> Usage | None:
        """How a limit is used; ``None`` if there is no limit of this key. A token needs the scope ``read`` for it."""
        return self.run(self._flows.usage(key))

    def close(self, timeout: float | None = None) -> None:
        """Refuses new calls, and waits for everything that is done in the background, at most `timeout` seconds.

        A complete that keeps failing ends with the `RepeatPolicy`.
        """
        self._closed.set()
        self._background.finish(timeout)
        self._http.close()

    def __enter__(self) -> "Limiter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Carries out a flow on this thread. For this package only."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._perform(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def in_background(self, flow: Flow[None]) -> None:
        """Carries out a flow on the thread of this limiter. For this package only."""
        self._background.put(flow)

    def _run_together(self, flows: Sequence[Flow[T]]) -> list[T | RatelimiterdError]:
        return run_together(flows, self._exchange_batches, self._pause)

    def _perform(self, step: Send | Pause) -> Answer | None:
        if isinstance(step, Send):
            return self._exchange(step.request)
        self._pause(step.seconds)
        return None

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise LimiterClosed

    def _exchange(self, request: Request) -> Answer:
        if self._http.is_closed:
            raise LimiterClosed
        try:
            return answer_of(self._http.request(**request_arguments(request)))
        except httpx.HTTPError as error:
            raise no_answer(error) from error

    def _exchange_batches(self, requests: Sequence[Request]) -> list[Answer | OutcomeUnknown]:
        answers: list[Answer | OutcomeUnknown] = []
        for batch in batches(requests):
            try:
                answers += split_answer(self._exchange(batch_request(batch)), len(batch))
            except OutcomeUnknown as error:
                answers += [error] * len(batch)
        return answers

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise LimiterClosed
