"""Leases: what was granted to a call, and how it ends."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Protocol

from .errors import RatelimiterdError, invalid
from .flow import Flow, Flows, Grant
from .left import Left
from .protocol import Request
from .usage import TokenUsage
from .wants import check_amount

logger = logging.getLogger("ratelimiterd")


class BaseLease:
    """What a lease holds, and what of it was used.

    A lease ends once: at the end of its ``with`` block, or with `complete`. Its end releases the slots of concurrency
    limits. For other limits it depends on what was told:

    - After `used` the lease is settled with that amount. What is left of the reservation is released, and usage above
      it is the limit's overage.
    - A limit of which nothing was told keeps the reserved amount until it expires or is refilled. That also holds when
      the block ends with an exception, because the provider may have done the work.
    - After `unused`, everything is released.
    """

    def __init__(self, flows: Flows, grant: Grant) -> None:
        self._flows = flows
        self._reserve = grant.reserve
        self._granted = grant.granted
        self._actuals: dict[str, int] = {}
        self._is_over = False

    @property
    def id(self) -> str:
        """The id of the lease, a ULID."""
        return self._reserve.lease_id

    @property
    def amounts(self) -> Mapping[str, int]:
        """What was reserved at first, by key. Extensions are not in it."""
        return self._reserve.wants.amounts

    @property
    def reserved_at(self) -> datetime:
        """When the lease was granted, in the ledger's time."""
        return datetime.fromtimestamp(self._granted.reserved_at_unix_ms / 1000, timezone.utc)

    @property
    def emergency(self) -> bool:
        """Whether the service granted it by itself, because its ledger did not answer. Its usage becomes debt."""
        return self._granted.emergency

    @property
    def left(self) -> Mapping[str, Left]:
        """What was left of each limit after the grant, if `Options.report` asks for it and the service tells."""
        return self._granted.left

    @property
    def would_deny(self) -> tuple[str, ...]:
        """The limits in shadow mode that had too little room and granted. What they lacked is their debt."""
        return self._granted.would_deny

    def used(
        self,
        amounts: Mapping[str, int] | None = None,
        *,
        tokens: int | None = None,
        usage: TokenUsage | None = None,
    ) -> None:
        """Tells how much was used in all. A later number replaces it.

        `amounts` is by key. `usage` settles every limit, those of token types and of money included. `tokens` settles
        the limits that count all tokens; the others keep what was reserved, unless it is 0.
        """
        by_key = dict(amounts or {})
        if tokens is not None:
            by_key.update(self._reserve.wants.of_tokens(tokens))
        if usage is not None:
            by_key.update(self._reserve.wants.of_usage(usage))
        self._actuals.update(self._checked(by_key, 0))

    def unused(self) -> None:
        """Tells that nothing was used: the call was not made."""
        self._actuals = dict.fromkeys(self.amounts, 0)

    def _checked(self, by_key: Mapping[str, int], least: int) -> Mapping[str, int]:
        for key, amount in by_key.items():
            if key not in self.amounts:
                raise invalid(f"the lease does not hold limit {key}; name keys that it was acquired for")
            check_amount(key, amount, least)
        return by_key

    def _extensions(self, amounts: Mapping[str, int] | None, tokens: int | None) -> Iterator[Flow[None]]:
        by_key = dict(amounts or {})
        if tokens is not None:
            by_key.update(self._reserve.wants.of_output(tokens))
        checked = self._checked(by_key, 1)
        served_by = self._granted.served_by
        requests = (self._reserve.extend(key, amount, served_by) for key, amount in checked.items())
        return (self._flows.extend(request) for request in requests)

    def ending(self) -> Flow[None] | None:
        """The flow that ends the lease; ``None`` if it is over. For this package only."""
        request = self._end()
        return None if request is None else self._flows.settle(request)

    def _end(self) -> Request | None:
        if self._is_over:
            return None
        self._is_over = True
        return self._reserve.complete(self._actuals, self._granted.served_by)

    def _abandoned(self) -> Flow[None] | None:
        """The flow that ends a lease which its owner forgot; ``None`` if it is over or was never built."""
        request = self._end() if hasattr(self, "_driver") else None
        return None if request is None else self._flows.complete(request)


class SyncDriver(Protocol):
    """What a `Lease` needs of its limiter."""

    def run(self, flow: Flow[None]) -> None:
        """Carries out a flow."""

    def in_background(self, flow: Flow[None]) -> None:
        """Carries out a flow on another thread."""


class AsyncDriver(Protocol):
    """What an `AsyncLease` needs of its limiter."""

    async def run(self, flow: Flow[None]) -> None:
        """Carries out a flow."""

    def in_background(self, flow: Flow[None]) -> None:
        """Carries out a flow in another task. May be called on any thread."""


class Lease(BaseLease):
    """A lease of a `Limiter`. Use it in a ``with`` block, or end it with `complete`."""

    def __init__(self, driver: SyncDriver, flows: Flows, grant: Grant) -> None:
        super().__init__(flows, grant)
        self._driver = driver

    def extend(self, amounts: Mapping[str, int] | None = None, *, tokens: int | None = None) -> None:
        """Reserves more for a call that needs more than expected, by key, or for `tokens` more of output.

        It asks once for each limit and does not wait for room. Tell the total with `used`, extensions included.

        Raises `Denied` at the first limit without room. What was extended before stays, and is settled with the lease.
        """
        for extension in self._extensions(amounts, tokens):
            self._driver.run(extension)

    def complete(self) -> None:
        """Ends the lease. A second call does nothing.

        If the service does not answer, the complete is repeated in the background.
        """
        flow = self.ending()
        if flow is not None:
            self._driver.run(flow)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.complete()
        except RatelimiterdError as error_of_complete:
            log_unsettled(error_of_complete)

    def __del__(self) -> None:
        flow = self._abandoned()
        if flow is not None:
            self._driver.in_background(flow)


class AsyncLease(BaseLease):
    """A lease of an `AsyncLimiter`. Use it in an ``async with`` block, or end it with `complete`."""

    def __init__(self, driver: AsyncDriver, flows: Flows, grant: Grant) -> None:
        super().__init__(flows, grant)
        self._driver = driver

    async def extend(self, amounts: Mapping[str, int] | None = None, *, tokens: int | None = None) -> None:
        """Does what `Lease.extend` does."""
        for extension in self._extensions(amounts, tokens):
            await self._driver.run(extension)

    async def complete(self) -> None:
        """Does what `Lease.complete` does, and goes on in the background if the task is cancelled."""
        flow = self.ending()
        if flow is not None:
            await self._driver.run(flow)

    async def __aenter__(self) -> "AsyncLease":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.complete()
        except RatelimiterdError as error_of_complete:
            log_unsettled(error_of_complete)

    def __del__(self) -> None:
        flow = self._abandoned()
        if flow is not None:
            self._driver.in_background(flow)


def log_unsettled(error: Exception) -> None:
    """Logs that a lease could not be completed where nobody can be told."""
    logger.warning("a lease could not be completed; what it reserved expires by itself: %s", error)
