"""The exceptions of this package, with what programs need as fields."""

from collections.abc import Mapping
from datetime import date
from typing import Literal

from .left import Left

RetryAfterSource = Literal["exact", "estimate"]
DenialReason = Literal["no_room", "decreasing", "exceeds_capacity", "unknown_limit_key", "too_many_instances"]

_DENIALS: dict[DenialReason, str] = {
    "no_room": "limit {key} has no room; try again in {retry_after} s",
    "decreasing": "the capacity of limit {key} is being lowered; try again in {retry_after} s",
    "exceeds_capacity": "the amount is above the capacity of limit {key}; ask for less or raise the capacity",
    "unknown_limit_key": "there is no limit {key}",
    "too_many_instances": "limit {key} cannot be created: its template has reached max_instances",
}


class RatelimiterdError(Exception):
    """What every exception of this package is."""


class Denied(RatelimiterdError):
    """Nothing was reserved, of any limit. The next attempt takes a new lease id."""

    def __init__(
        self,
        limiting_key: str,
        reason: DenialReason,
        retry_after: float | None,
        left: Mapping[str, Left] | None = None,
        retry_after_source: RetryAfterSource = "estimate",
    ) -> None:
        super().__init__(limiting_key, reason, retry_after, left, retry_after_source)
        self.limiting_key = limiting_key
        """The limit that denied, or one of them if several did."""
        self.reason = reason
        self.retry_after = retry_after
        """The seconds after which to ask again; ``None`` if waiting does not help."""
        self.retry_after_source = retry_after_source
        """``exact`` if the amount is known to fit after ``retry_after``, unless other callers take it."""
        self.left: Mapping[str, Left] = left or {}
        """What is left of each limit of the call, if `Options.report` asks for it and the service tells."""

    def __str__(self) -> str:
        return _DENIALS[self.reason].format(key=self.limiting_key, retry_after=self.retry_after)

    @property
    def can_never_fit(self) -> bool:
        """Whether waiting does not help."""
        return self.retry_after is None


class OutcomeUnknown(RatelimiterdError):
    """The service or its ledger did not answer: the call may have been carried out.

    The client has repeated the call until it gave up. It finds out the outcome in the background, and cancels what was
    granted.
    """


class CallRefused(RatelimiterdError):
    """The call was not carried out, and repeating it unchanged does not help."""

    def __init__(self, name: str, message: str, status: int) -> None:
        super().__init__(name, message, status)
        self.name = name
        """The error's name in the API, such as ``invalid_request``."""
        self.message = message
        self.status = status
        """The HTTP status; 200 for an item of a batch, 0 if the request was not sent."""

    def __str__(self) -> str:
        return f"the call was refused: {self.message or self.name}"


class InvalidRequest(CallRefused):
    """The request is malformed; the message begins with the name of the field."""


class Unauthorized(CallRefused):
    """The service does not know the token, or it has expired, or there is none."""


class Forbidden(CallRefused):
    """The token does not allow the call, or the service does not answer under the name in its URL."""


class LeaseConflict(CallRefused):
    """The lease id was granted for other requirements."""


class LeaseSettled(CallRefused):
    """The lease was completed."""


class LeaseExpired(CallRefused):
    """The lease, or a part of it, has expired."""


class PriceTableError(RatelimiterdError):
    """A price table cannot be read, or says something wrong."""


class NoPrice(RatelimiterdError):
    """The price table has no price of a model."""

    def __init__(self, provider: str, model: str, day: date) -> None:
        super().__init__(provider, model, day)
        self.provider = provider
        self.model = model
        self.day = day
        """The day in UTC on which a price was asked for."""

    def __str__(self) -> str:
        return (
            f'the price table has no price of provider "{self.provider}" and model "{self.model}" on {self.day}: add '
            f'{{"provider": "{self.provider}", "model": "{self.model}", "micros_per_million_tokens": {{"input": ..., '
            '"output": ...}} to its prices'
        )


class LimiterClosed(RatelimiterdError):
    """The limiter is closed. The call was not made."""

    def __init__(self) -> None:
        super().__init__("the limiter is closed")


_KINDS: dict[str, type[CallRefused]] = {
    "invalid_request": InvalidRequest,
    "body_too_large": InvalidRequest,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "host_not_allowed": Forbidden,
    "origin_not_allowed": Forbidden,
    "lease_conflict": LeaseConflict,
    "lease_settled": LeaseSettled,
    "lease_expired": LeaseExpired,
}


def refused(name: str, message: str, status: int) -> CallRefused:
    """The exception of an error that the service names. Newer services may have further names."""
    return _KINDS.get(name, CallRefused)(name, message, status)


def invalid(message: str) -> InvalidRequest:
    """The exception of a request that is not sent."""
    return InvalidRequest("invalid_request", message, 0)
