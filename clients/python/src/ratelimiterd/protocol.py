"""Requests to the service and the meaning of its answers. Nothing here sends anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import DenialReason, Denied, OutcomeUnknown, RetryAfterSource, refused
from .keys import in_path
from .left import Left
from .ulid import new_ulid
from .wants import Wants

RESERVE = "/v1/reserve"
COMPLETE = "/v1/complete"

_REASONS: dict[str, DenialReason] = {
    "": "no_room",
    "limit_decreasing": "decreasing",
    "exceeds_capacity": "exceeds_capacity",
    "unknown_limit_key": "unknown_limit_key",
    "too_many_instances": "too_many_instances",
}
_CONFLICTS = {
    "lease_conflict": "the lease id was used for other requirements",
    "lease_settled": "the lease is completed; acquire another",
    "lease_expired": "the lease expired; acquire another, or raise the window or the time-out of its limits",
}
# Errors after which a repetition may succeed, besides all of 500 and above.
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_TRANSIENT_NAMES = frozenset({"backend_error", "contended", "overloaded"})


@dataclass(frozen=True)
class Request:
    """A request. The same request may be sent again: its ids make it happen once."""

    path: str
    body: str | None = None
    """The JSON of a POST; ``None`` for a GET."""


def post(path: str, body: Mapping[str, Any]) -> Request:
    """A POST of this body."""
    return Request(path, json.dumps(body, separators=(",", ":")))


@dataclass(frozen=True)
class Answer:
    """An answer of the service."""

    status: int
    body: object
    """The JSON; ``None`` if it is none."""


@dataclass(frozen=True)
class Reserve:
    """One attempt to reserve."""

    lease_id: str
    wants: Wants
    job_id: str = ""
    report: bool = False
    """Whether the answer tells what is left of the limits."""

    @classmethod
    def fresh(cls, wants: Wants, job_id: str, report: bool = False) -> "Reserve":
        """A new attempt, under a new lease id."""
        return cls(new_ulid(), wants, job_id, report)

    def request(self) -> Request:
        """The request of this attempt."""
        requirements = [{"key": key, "amount": amount} for key, amount in self.wants.amounts.items()]
        body = {"lease_id": self.lease_id, "job_id": self.job_id, "requirements": requirements}
        # Older services refuse the field.
        return post(RESERVE, {**body, "report": True} if self.report else body)

    def complete(self, actuals: Mapping[str, int], served_by: str = "") -> Request:
        """The request that settles the lease. A limit that is not named keeps its reservation until it expires."""
        named = [{"key": key, "actual_amount": amount} for key, amount in actuals.items()]
        body = {"lease_id": self.lease_id, "job_id": self.job_id, "actuals": named}
        return post(COMPLETE, _addressed(body, served_by))

    def cancel(self, served_by: str = "") -> Request:
        """The request that settles the lease as one of which nothing was used."""
        return self.complete(dict.fromkeys(self.wants.amounts, 0), served_by)

    def extend(self, key: str, amount: int, served_by: str = "") -> Request:
        """The request for more of one limit, under a fresh id."""
        body = {"lease_id": self.lease_id, "extend_id": new_ulid(), "key": key, "amount": amount}
        return post("/v1/extend", _addressed(body, served_by))


@dataclass(frozen=True)
class Granted:
    """Everything is reserved."""

    reserved_at_unix_ms: int
    emergency: bool
    left: Mapping[str, Left] = field(default_factory=dict)
    would_deny: tuple[str, ...] = ()
    served_by: str = ""
    """The replica that serves the lease, for later calls about it; empty if every replica does."""


@dataclass(frozen=True)
class Usage:
    """How a limit is used."""

    available: int
    reserved: int
    debt: int


def usage_request(key: str) -> Request:
    """The request for the usage of a limit."""
    return Request(f"/v1/admin/limits/{in_path(key)}")


def read_reserve(answer: Answer) -> Granted | Denied:
    """Reads the answer to a reserve or an extend. A denial is an answer; all else that is not a grant is raised."""
    body = _read(answer)
    if body.get("allowed") is True:
        would_deny = body.get("would_deny", [])
        keys = tuple(str(key) for key in would_deny) if isinstance(would_deny, list) else ()
        served_by = body.get("served_by")
        return Granted(
            _whole(body, "reserved_at_unix_ms"),
            body.get("emergency") is True,
            _left(body),
            keys,
            served_by if isinstance(served_by, str) else "",
        )
    name = str(body.get("error", "")).partition(":")[0]
    limiting_key = body.get("limiting_key")
    if name in _REASONS and isinstance(limiting_key, str):
        may_retry = name in ("", "limit_decreasing")
        retry_after = _whole(body, "retry_after_ms") / 1000 if may_retry else None
        source: RetryAfterSource = "exact" if body.get("retry_after_source") == "exact" else "estimate"
        return Denied(limiting_key, _REASONS[name], retry_after, _left(body), source)
    raise _failure(answer.status, body)


def read_complete(answer: Answer) -> None:
    """Reads the answer to a complete."""
    body = _read(answer)
    if body.get("ok") is not True:
        raise _failure(answer.status, body)


def read_usage(answer: Answer) -> Usage | None:
    """Reads the usage of a limit; ``None`` if there is no such limit."""
    if answer.status == 404 and _names_error(answer.body, "unknown_limit_key"):
        return None
    body = _read(answer)
    try:
        usage = body["limit"]["usage"]
        return Usage(int(usage["available"]), int(usage["reserved"]), int(usage["debt"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown("the answer is not one of this API") from error


def _read(answer: Answer) -> dict[str, Any]:
    """The body of an answer that may hold an outcome. A conflict is an answer too: it is about the lease."""
    body = answer.body if isinstance(answer.body, dict) else None
    if body is not None and (200 <= answer.status < 300 or answer.status == 409):
        return body
    raise _failure(answer.status, body)


def _failure(status: int, body: dict[str, Any] | None) -> Exception:
    """Why there is no outcome: the service refused the call, or the outcome is unknown."""
    name, _, message = str((body or {}).get("error", "")).partition(":")
    message = str((body or {}).get("message", message)).strip()
    is_refusal = 400 <= status < 500 and status not in _TRANSIENT_STATUSES
    if is_refusal and not name:
        return refused("other", f"the service answered with status {status}; check its address", status)
    if name in _CONFLICTS:
        return refused(name, message or _CONFLICTS[name], status)
    if name in ("invalid_request", "forbidden") or (is_refusal and name not in _TRANSIENT_NAMES):
        return refused(name, message, status)
    if status == 200 and not name:
        return OutcomeUnknown("the answer is not one of this API; check the address of the service")
    return OutcomeUnknown(f"the service answered with status {status} {name} {message}".strip())


def _addressed(body: dict[str, Any], served_by: str) -> dict[str, Any]:
    """The body with the replica that serves the lease. Older services refuse the field, and name no replica."""
    return {**body, "served_by": served_by} if served_by else body


def _left(body: dict[str, Any]) -> dict[str, Left]:
    """What is left of the limits, by key. Nothing if the answer does not tell, or not in a form that is known."""
    try:
        return {limit["key"]: _left_of(limit) for limit in body.get("limits", [])}
    except (KeyError, TypeError, ValueError):
        return {}


def _left_of(limit: dict[str, Any]) -> Left:
    reset_ms = limit.get("reset_ms")
    return Left(int(limit["capacity"]), int(limit["available"]), None if reset_ms is None else int(reset_ms) / 1000)


def _whole(body: dict[str, Any], name: str) -> int:
    """A whole number of an answer; 0 if it is missing."""
    value = body.get(name)
    return value if isinstance(value, int) else 0


def _names_error(body: object, name: str) -> bool:
    return isinstance(body, dict) and body.get("error") == name
