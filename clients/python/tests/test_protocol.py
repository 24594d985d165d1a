"""The meaning of answers."""

import json
import pickle
from typing import Any

import pytest

from ratelimiterd import (
    CallRefused,
    Denied,
    Forbidden,
    InvalidRequest,
    LeaseConflict,
    LeaseExpired,
    LeaseSettled,
    Left,
    OutcomeUnknown,
    RatelimiterdError,
    Unauthorized,
)
from ratelimiterd.batch import batch_request, batches, split_answer
from ratelimiterd.protocol import Answer, Granted, Request, Reserve, read_complete, read_reserve, read_usage
from ratelimiterd.wants import Wants


def test_a_grant_says_when_and_whether_in_an_emergency() -> None:
    body: dict[str, Any] = {"allowed": True, "retry_after_ms": 0, "reserved_at_unix_ms": 7, "error": ""}
    assert read_reserve(Answer(200, body)) == Granted(reserved_at_unix_ms=7, emergency=False)
    assert read_reserve(Answer(200, {**body, "emergency": True})) == Granted(reserved_at_unix_ms=7, emergency=True)
    shadow = read_reserve(Answer(200, {**body, "would_deny": ["a", "b"]}))
    assert shadow == Granted(reserved_at_unix_ms=7, emergency=False, would_deny=("a", "b"))


def test_later_calls_name_the_replica_that_serves_the_lease() -> None:
    body: dict[str, Any] = {"allowed": True, "reserved_at_unix_ms": 7, "error": "", "served_by": "http://a:1"}
    granted = read_reserve(Answer(200, body))
    assert isinstance(granted, Granted)
    reserve = Reserve.fresh(Wants({"k": 1}), "")
    for request in (
        reserve.complete({"k": 1}, granted.served_by),
        reserve.cancel(granted.served_by),
        reserve.extend("k", 1, granted.served_by),
    ):
        assert json.loads(request.body or "")["served_by"] == "http://a:1"
    for request in (reserve.complete({}), reserve.cancel(), reserve.extend("k", 1)):
        assert "served_by" not in json.loads(request.body or "")


def test_an_answer_tells_what_is_left_of_each_limit() -> None:
    limits: list[dict[str, Any]] = [
        {"key": "k", "capacity": 5, "available": 2, "reset_ms": 1500},
        {"key": "by_hand", "capacity": 7, "available": 0},
    ]
    expected = {"k": Left(5, 2, 1.5), "by_hand": Left(7, 0, None)}
    body: dict[str, Any] = {"allowed": True, "reserved_at_unix_ms": 7, "error": "", "limits": limits}
    granted = read_reserve(Answer(200, body))
    assert isinstance(granted, Granted)
    assert granted.left == expected
    denied = read_reserve(Answer(200, {**body, "allowed": False, "limiting_key": "k"}))
    assert isinstance(denied, Denied)
    assert denied.left == expected
    assert pickle.loads(pickle.dumps(denied)).left == expected
    for novel in (7, None, [7], [{"key": "k"}], [{**limits[0], "available": "x"}]):
        granted = read_reserve(Answer(200, {**body, "limits": novel}))
        assert isinstance(granted, Granted)
        assert granted.left == {}


@pytest.mark.parametrize(
    ("error", "reason", "retry_after"),
    [
        ("", "no_room", 0.25),
        ("limit_decreasing:k", "decreasing", 0.25),
        ("exceeds_capacity:k", "exceeds_capacity", None),
        ("unknown_limit_key:k", "unknown_limit_key", None),
        ("too_many_instances:k", "too_many_instances", None),
    ],
)
def test_a_denial_is_an_answer(error: str, reason: str, retry_after: float | None) -> None:
    denied = read_reserve(Answer(200, {"allowed": False, "retry_after_ms": 250, "error": error, "limiting_key": "k"}))
    assert isinstance(denied, Denied)
    assert (denied.limiting_key, denied.reason, denied.retry_after) == ("k", reason, retry_after)
    assert denied.can_never_fit == (retry_after is None)


def test_a_denial_says_whether_its_hint_is_exact() -> None:
    body = {"allowed": False, "retry_after_ms": 250, "error": "", "limiting_key": "k"}
    # A service of an earlier version says nothing.
    for source, expected in ((None, "estimate"), ("estimate", "estimate"), ("exact", "exact"), ("novel", "estimate")):
        denied = read_reserve(Answer(200, body if source is None else {**body, "retry_after_source": source}))
        assert isinstance(denied, Denied)
        assert denied.retry_after_source == expected


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_request", "message": "why"}, InvalidRequest),
        (413, {"error": "body_too_large", "message": "why"}, InvalidRequest),
        (401, {"error": "unauthorized", "message": "why"}, Unauthorized),
        (403, {"error": "forbidden", "message": "why"}, Forbidden),
        (421, {"error": "host_not_allowed", "message": "why"}, Forbidden),
        (409, {"allowed": False, "error": "lease_conflict"}, LeaseConflict),
        (409, {"allowed": False, "error": "lease_settled"}, LeaseSettled),
        (409, {"allowed": False, "error": "lease_expired"}, LeaseExpired),
        (409, {"error": "novel", "message": "why"}, CallRefused),
        (404, None, CallRefused),
        # Items of a batch.
        (200, {"allowed": False, "error": "forbidden: why"}, Forbidden),
        (200, {"allowed": False, "error": "invalid_request: why"}, InvalidRequest),
        (200, {"allowed": False, "error": "lease_settled"}, LeaseSettled),
        (200, {"allowed": False, "error": "backend_error"}, OutcomeUnknown),
        (200, {"allowed": False, "error": "novel"}, OutcomeUnknown),
        # Outcomes that a repetition finds out.
        (200, {"allowed": False, "error": ""}, OutcomeUnknown),
        (200, None, OutcomeUnknown),
        (200, [], OutcomeUnknown),
        (302, None, OutcomeUnknown),
        (503, {"allowed": False, "error": "backend_error"}, OutcomeUnknown),
        (503, {"error": "overloaded", "message": "why"}, OutcomeUnknown),
        (502, None, OutcomeUnknown),
        (408, {"error": "body_timeout", "message": "why"}, OutcomeUnknown),
        (429, None, OutcomeUnknown),
        (409, {"error": "contended", "message": "why"}, OutcomeUnknown),
    ],
)
def test_an_answer_without_an_outcome_is_raised(status: int, body: object, kind: type[RatelimiterdError]) -> None:
    for read in (read_reserve, read_complete):
        with pytest.raises(kind) as raised:
            read(Answer(status, body))
        assert type(raised.value) is kind
        if isinstance(raised.value, CallRefused):
            assert raised.value.status == status


def test_usage_of_no_limit_is_none() -> None:
    usage = {"available": 2**64, "reserved": 1, "debt": 0}
    assert read_usage(Answer(200, {"limit": {"usage": usage}})) is not None
    assert read_usage(Answer(404, {"error": "unknown_limit_key", "message": "why"})) is None
    with pytest.raises(CallRefused):
        read_usage(Answer(404, {"error": "not_found", "message": "why"}))
    with pytest.raises(OutcomeUnknown):
        read_usage(Answer(200, {"limit": {}}))


def test_batches_are_bounded_in_items_and_bytes() -> None:
    def lengths(count: int, item_bytes: int) -> list[int]:
        return [len(batch) for batch in batches([Request("/v1/reserve", "x" * item_bytes)] * count)]

    assert lengths(0, 1) == []
    assert lengths(600, 1) == [256, 256, 88]
    assert lengths(5, 400_000) == [2, 2, 1]
    assert lengths(2, 1_000_000) == [1, 1]


def test_a_batch_has_an_answer_for_each_item() -> None:
    items = [Request("/v1/reserve", "{}")] * 2
    assert batch_request(items) == Request("/v1/reserve/batch", '{"requests":[{},{}]}')
    assert split_answer(Answer(200, {"results": [{"a": 1}, {"a": 2}]}), 2) == [
        Answer(200, {"a": 1}),
        Answer(200, {"a": 2}),
    ]
    assert split_answer(Answer(503, None), 2) == [Answer(503, None)] * 2
    wrongs: list[object] = [{"results": [{}]}, {}, None]
    for wrong in wrongs:
        with pytest.raises(OutcomeUnknown):
            split_answer(Answer(200, wrong), 2)


def test_exceptions_survive_pickling() -> None:
    for error in (
        Denied("k", "no_room", 1.5, None, "exact"),
        LeaseSettled("lease_settled", "why", 409),
        OutcomeUnknown("why"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
