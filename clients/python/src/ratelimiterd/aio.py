"""The limiter for asyncio."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

import httpx

from .batch import Batcher, BatchOptions
from .errors import LimiterClosed
from .flow import Flow, Flows, Pause, Send
from .http import Options, answer_of, client_arguments, no_answer, request_arguments
from .lease import AsyncLease, log_unsettled
from .protocol import Answer, Request, Usage
from .wants import Call, wants_of

T = TypeVar("T")

_DEFAULT_BATCH = BatchOptions()


class Acquiring:
    """An acquire to be awaited, or to be used in an ``async with`` block."""

    def __init__(self, acquiring: Coroutine[None, None, AsyncLease]) -> None:
        self._acquiring = acquiring
        self._lease: AsyncLease | None = None

    def __await__(self) -> Generator[None, None, AsyncLease]:
        return self._acquiring.__await__()

    async def __aenter__(self) -> AsyncLease:
        self._lease = await self
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lease is not None:
            await self._lease.__aexit__(kind, error, traceback)


class AsyncLimiter:
    """Acquires leases of a service. All tasks of one event loop may share one.

    Close it, or use it in an ``async with`` block, so that the last completes are sent. Reserves and completes of many
    tasks travel together, unless `batch` is ``None``.
    """

    def __init__(
        self, url: str, options: Options | None = None, *, batch: BatchOptions | None = _DEFAULT_BATCH
    ) -> None:
        options = options or Options()
        self._turns = asyncio.Semaphore(options.connections_max)
        self._http = httpx.AsyncClient(**client_arguments(url, options))
        self._exchange = self._send if batch is None else Batcher(self._send, batch).exchange
        self._flows = Flows(options.repeat, self.in_background, report=options.report)
        self._closed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background: set[asyncio.Task[None]] = set()

    def acquire(
        self,
        call: Mapping[str, int] | Call,
        *,
        tenant: str | None = None,
        max_wait: float | None = None,
        job_id: str = "",
    ) -> Acquiring:
        """Waits until everything is reserved, as `Limiter.acquire` does.

        If the task is cancelled, nothing stays reserved: a grant made by then is cancelled in the background.
        """
        return Acquiring(self._acquire(call, tenant, max_wait, job_id))

    async def usage(self, key: str) -> Usage | None:
        """How a limit is used, as `Limiter.usage` tells."""
        return await self.run(self._flows.usage(key))

    async def close(self) -> None:
        """Refuses new calls, and waits for everything that is done in the background.

        A complete that keeps failing ends with the `RepeatPolicy`.
        """
        self._closed.set()
        await asyncio.sleep(0)  # other threads may just have scheduled some
        while self._background:
            await asyncio.wait(self._background)
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncLimiter":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, flow: Flow[T]) -> T:
        """Carries out a flow in this task. For this package only."""
        self._loop = asyncio.get_running_loop()
        return await self._run(flow, self._pause)

    def in_background(self, flow: Flow[None]) -> None:
        """Carries out a flow in a task of its own. May be called on any thread. For this package only."""
        # Without a running loop nothing can be sent: what was reserved expires.
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._start, flow)

    async def _acquire(
        self, call: Mapping[str, int] | Call, tenant: str | None, max_wait: float | None, job_id: str
    ) -> AsyncLease:
        wants = wants_of(call, tenant)
        if self._closed.is_set():
            raise LimiterClosed
        return AsyncLease(self, self._flows, await self.run(self._flows.acquire(wants, job_id, max_wait)))

    def _start(self, flow: Flow[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._run_in_background(flow))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _run_in_background(self, flow: Flow[None]) -> None:
        try:
            await self._run(flow, asyncio.sleep)
        except Exception as error:
            log_unsettled(error)

    async def _run(self, flow: Flow[T], pause: Callable[[float], Awaitable[None]]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._exchange(step.request) if isinstance(step, Send) else None
                    if isinstance(step, Pause):
                        await pause(step.seconds)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise LimiterClosed

    async def _send(self, request: Request) -> Answer:
        if self._http.is_closed:
            raise LimiterClosed
        try:
            # The queue of httpx costs time with each request that waits in it, and it has a time-out.
            async with self._turns:
                return answer_of(await self._http.request(**request_arguments(request)))
        except httpx.HTTPError as error:
            raise no_answer(error) from error
