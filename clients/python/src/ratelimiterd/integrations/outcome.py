"""What the libraries of providers tell about the calls of leases."""

from collections import OrderedDict
from typing import Any, Generic, TypeVar

from ..errors import InvalidRequest
from ..lease import BaseLease
from ..usage import TokenUsage

LeaseT = TypeVar("LeaseT", bound=BaseLease)

_OPEN_LEASES_MAX = 10_000
_REQUEST_TIMEOUT = 408


def tell_failure(lease: BaseLease, error: BaseException) -> None:
    """Tells a lease that its call failed.

    A provider that refused the request made no tokens. After any other failure it may have made some, and the lease
    keeps the estimate.
    """
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500 and status != _REQUEST_TIMEOUT:
        lease.used(tokens=0)


def tell_usage(lease: BaseLease, usage: Any) -> None:
    """Tells a lease the usage of its call, as OpenAI and compatible providers tell it."""
    try:
        lease.used(usage=TokenUsage.of_openai(usage))
    except InvalidRequest:
        # A usage that contradicts itself must not fail a call that has succeeded. Money stays at the estimate.
        total = usage.get("total_tokens") if isinstance(usage, dict) else getattr(usage, "total_tokens", None)
        if isinstance(total, int) and total >= 0:
            lease.used(tokens=total)


class OpenLeases(Generic[LeaseT]):
    """The leases of calls that run, by the ids of the calls.

    Some libraries do not say that a call was abandoned. So the oldest leases are forgotten, and thereby completed, when
    there are too many.
    """

    def __init__(self) -> None:
        self._leases: OrderedDict[str, LeaseT] = OrderedDict()

    def put(self, call_id: str, lease: LeaseT) -> None:
        """Keeps the lease of a call."""
        self._leases[call_id] = lease
        if len(self._leases) > _OPEN_LEASES_MAX:
            self._leases.popitem(last=False)

    def take(self, call_id: str) -> LeaseT | None:
        """Returns the lease of a call that has ended; ``None`` if there is none."""
        return self._leases.pop(call_id, None)
