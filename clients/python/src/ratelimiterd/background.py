"""The thread that carries out what nobody waits for: completes that are repeated, and reserves to be cancelled."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .flow import Flow, Send
from .lease import log_unsettled
from .protocol import Answer, Request


class Background:
    """One daemon thread for any number of flows: while one pauses, the others go on."""

    def __init__(self, exchange: Callable[[Request], Answer]) -> None:
        self._exchange = exchange
        # Its `put` may interrupt another `put` of the same thread, as it must: `__del__` of a lease calls it.
        self._inbox: SimpleQueue[Flow[None] | None] = SimpleQueue()
        self._paused: list[tuple[float, int, Flow[None]]] = []  # by the time to go on; the number breaks ties
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="ratelimiterd", daemon=True)
        self._thread.start()

    def put(self, flow: Flow[None]) -> None:
        """Carries out a flow."""
        self._inbox.put(flow)

    def finish(self, timeout: float | None) -> None:
        """Carries out what is left, and ends the thread."""
        self._inbox.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        is_finishing = False
        while not is_finishing or self._paused:
            try:
                flow = self._inbox.get(timeout=self._seconds_to_next())
            except Empty:
                _, _, flow = heapq.heappop(self._paused)
            if flow is None:
                is_finishing = True
            else:
                self._advance(flow)

    def _seconds_to_next(self) -> float | None:
        return max(0.0, self._paused[0][0] - time.monotonic()) if self._paused else None

    def _advance(self, flow: Flow[None]) -> None:
        """Carries out a flow until it pauses or ends."""
        try:
            step = next(flow)
            while isinstance(step, Send):
                try:
                    answer = self._exchange(step.request)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration:
            return
        except Exception as error:  # whatever it is, the thread goes on for the other flows
            log_unsettled(error)
        else:
            heapq.heappush(self._paused, (time.monotonic() + step.seconds, next(self._numbers), flow))
