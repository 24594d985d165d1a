"""The course of operations, over a clock that stands still and a service that answers from a list."""

import json
from collections.abc import Sequence
from typing import NoReturn

import pytest

from ratelimiterd import Denied, LeaseExpired, LeaseSettled, OutcomeUnknown, RepeatPolicy, Wants
from ratelimiterd.batch import run_together
from ratelimiterd.flow import Flow, Flows, Grant, Pause, Send, T
from ratelimiterd.protocol import Answer, Request

GRANTED = Answer(200, {"allowed": True, "reserved_at_unix_ms": 7})
NO_ROOM = Answer(200, {"allowed": False, "retry_after_ms": 400, "error": "", "limiting_key": "k"})
NEVER = Answer(200, {"allowed": False, "retry_after_ms": 0, "error": "exceeds_capacity:k", "limiting_key": "k"})
EXPIRED = Answer(409, {"allowed": False, "error": "lease_expired"})
SETTLED = Answer(409, {"allowed": False, "error": "lease_settled"})
DONE = Answer(200, {"ok": True, "error": ""})
UNKNOWN = Answer(503, {"allowed": False, "error": "backend_error"})
WANTS = Wants({"k": 5})


class World:
    """Carries out flows: notes what they send and how long they pause."""

    def __init__(self, *answers: Answer | BaseException, chance: float = 0.0) -> None:
        self.answers = list(answers)
        self.now = 0.0
        self.sent: list[tuple[str, dict[str, object]]] = []
        self.pauses: list[float] = []
        self.background: list[Flow[None]] = []
        policy = RepeatPolicy(first_pause=0.1, pause_max=0.3, give_up_after=1.0)
        self.flows = Flows(policy, self.background.append, lambda: self.now, lambda: chance)

    def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                outcome = self._perform(step)
                step = flow.throw(outcome) if isinstance(outcome, BaseException) else flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Send | Pause) -> Answer | BaseException | None:
        if isinstance(step, Pause):
            self.pauses.append(round(step.seconds, 6))
            self.now += step.seconds
            return None
        self.sent.append((step.request.path, json.loads(step.request.body or "{}")))
        return self.answers.pop(0)

    def lease_ids(self) -> list[object]:
        return [body["lease_id"] for _, body in self.sent]

    def run_background(self) -> None:
        while self.background:
            self.run(self.background.pop(0))


def test_an_unknown_outcome_is_repeated_under_the_same_id_with_pauses_that_double() -> None:
    world = World(UNKNOWN, OutcomeUnknown("cut"), UNKNOWN, UNKNOWN, GRANTED)
    world.run(world.flows.acquire(WANTS, "", None))
    assert len(set(world.lease_ids())) == 1
    assert world.pauses == [0.1, 0.2, 0.3, 0.3]
    assert world.background == []


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    world = World(UNKNOWN, GRANTED, chance=1.0)
    world.run(world.flows.acquire(WANTS, "", None))
    assert world.pauses == [0.05]


def test_when_the_policy_gives_up_the_outcome_is_found_out_in_the_background() -> None:
    world = World(*[UNKNOWN] * 5, GRANTED, DONE)
    with pytest.raises(OutcomeUnknown):
        world.run(world.flows.acquire(WANTS, "", None))
    assert (len(world.sent), world.now <= 1.0) == (5, True)
    world.run_background()
    assert [path for path, _ in world.sent[5:]] == ["/v1/reserve", "/v1/complete"]
    assert world.sent[6][1]["actuals"] == [{"key": "k", "actual_amount": 0}]
    assert len(set(world.lease_ids())) == 1


@pytest.mark.parametrize(("answer", "requests"), [(NO_ROOM, 1), (SETTLED, 1), (EXPIRED, 2)])
def test_only_what_may_be_left_of_a_grant_is_cancelled_in_the_background(answer: Answer, requests: int) -> None:
    world = World(KeyboardInterrupt(), answer, DONE)
    with pytest.raises(KeyboardInterrupt):
        world.run(world.flows.acquire(WANTS, "", None))
    world.run_background()
    assert len(world.sent) == 1 + requests


def test_a_denial_pauses_as_hinted_and_takes_a_new_id() -> None:
    world = World(NO_ROOM, NO_ROOM, GRANTED)
    grant = world.run(world.flows.acquire(WANTS, "", None))
    assert world.pauses == [0.4, 0.4]
    assert len(set(world.lease_ids())) == 3
    assert grant.reserve.lease_id == world.lease_ids()[2]


def test_an_exact_hint_is_obeyed_to_the_letter() -> None:
    hint = {"retry_after_ms": 400, "retry_after_source": "exact"}
    world = World(
        Answer(200, {"allowed": False, "error": "", "limiting_key": "k", **hint}),
        GRANTED,
        chance=1.0,
    )
    world.run(world.flows.acquire(WANTS, "", None))
    assert world.pauses == [0.4]


def test_a_hint_is_lengthened_by_chance_and_bounded() -> None:
    hint_of_a_day = Answer(200, {"allowed": False, "retry_after_ms": 86_400_000, "error": "", "limiting_key": "k"})
    hint_of_zero = Answer(200, {"allowed": False, "retry_after_ms": 0, "error": "", "limiting_key": "k"})
    world = World(NO_ROOM, hint_of_a_day, hint_of_zero, GRANTED, chance=1.0)
    world.run(world.flows.acquire(WANTS, "", None))
    assert world.pauses == [0.44, 66.0, 0.001]


def test_the_last_attempt_begins_at_the_deadline() -> None:
    world = World(NO_ROOM, NO_ROOM, NO_ROOM)
    with pytest.raises(Denied) as raised:
        world.run(world.flows.acquire(WANTS, "", 0.5))
    assert world.pauses == [0.4, 0.1]
    assert (raised.value.limiting_key, raised.value.retry_after, raised.value.can_never_fit) == ("k", 0.4, False)
    world = World(NO_ROOM)
    with pytest.raises(Denied):
        world.run(world.flows.acquire(WANTS, "", 0))
    assert world.pauses == []


def test_no_repetition_begins_after_the_deadline() -> None:
    world = World(UNKNOWN, UNKNOWN)
    with pytest.raises(OutcomeUnknown):
        world.run(world.flows.acquire(WANTS, "", 0.15))
    assert world.pauses == [0.1]


def test_what_can_never_fit_is_denied_at_once() -> None:
    world = World(NEVER)
    with pytest.raises(Denied) as raised:
        world.run(world.flows.acquire(WANTS, "", None))
    assert raised.value.can_never_fit


def test_a_grant_that_expired_before_its_answer_is_released_and_tried_again() -> None:
    world = World(EXPIRED, GRANTED, DONE)
    assert isinstance(world.run(world.flows.acquire(WANTS, "", None)), Grant)
    world.run_background()
    ids = world.lease_ids()
    assert ids[0] != ids[1]
    assert (world.sent[2][0], ids[2]) == ("/v1/complete", ids[0])
    world = World(EXPIRED, EXPIRED, EXPIRED)
    with pytest.raises(LeaseExpired):
        world.run(world.flows.acquire(WANTS, "", None))


def test_a_lease_id_in_use_is_an_error() -> None:
    world = World(SETTLED)
    with pytest.raises(LeaseSettled):
        world.run(world.flows.acquire(WANTS, "", None))
    assert world.background == []


@pytest.mark.parametrize("failure", [UNKNOWN, OutcomeUnknown("cut")])
def test_a_complete_is_asked_once_and_repeated_in_the_background(failure: Answer | BaseException) -> None:
    world = World(GRANTED, failure, UNKNOWN, DONE)
    grant = world.run(world.flows.acquire(WANTS, "", None))
    world.run(world.flows.settle(grant.reserve.complete({"k": 3})))
    assert len(world.sent) == 2
    world.run_background()
    assert [body["actuals"] for _, body in world.sent[1:]] == [[{"key": "k", "actual_amount": 3}]] * 3


def test_a_batch_that_is_interrupted_is_found_out_in_the_background() -> None:
    world = World(NO_ROOM, GRANTED, DONE)

    def interrupt(requests: Sequence[Request]) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_together([world.flows.attempt(WANTS, ""), world.flows.attempt(WANTS, "")], interrupt, lambda seconds: None)
    world.run_background()
    assert [path for path, _ in world.sent] == ["/v1/reserve", "/v1/reserve", "/v1/complete"]


def test_an_extension_is_repeated_under_the_same_id() -> None:
    world = World(GRANTED, UNKNOWN, GRANTED, GRANTED)
    reserve = world.run(world.flows.acquire(WANTS, "", None)).reserve
    world.run(world.flows.extend(reserve.extend("k", 1)))
    world.run(world.flows.extend(reserve.extend("k", 1)))
    first, second, third = (body["extend_id"] for _, body in world.sent[1:])
    assert first == second != third
