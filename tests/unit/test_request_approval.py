"""RequestApproval: asked once, and no decision falls between the asking and the waiting."""

import pytest

from chalicelib.domain.decisions import Verdict, judge_decision
from chalicelib.domain.errors import SlackUnavailableError, UnknownRequestError
from chalicelib.domain.people import Person
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.request_approval import request_approval
from tests.factories import (
    BOB,
    CAROL,
    FRIDAY_NOON,
    READ,
    REQUEST_ID,
    WRITE,
    a_catalogue,
    a_decision,
    a_policy,
    a_record,
    a_request,
    a_task_token,
    minutes,
)
from tests.fakes import FakeNotifier, World


def asked(**changes: object) -> World:
    world = World()
    world.declare_request(**changes)
    return world


def ask(world: World, token: str = "token-1") -> None:
    world.run(request_approval, request_id=REQUEST_ID, task_token=a_task_token(token))


def decide(world: World, person: Person, *, approves: bool = True) -> None:
    """Somebody presses a button."""
    world.run(record_decision, request_id=REQUEST_ID, person=person, approves=approves)


def test_the_approvers_are_asked_and_the_deciding_is_open() -> None:
    """For an hour, and it waits with the token of the state."""
    world = asked(level=WRITE)

    ask(world)

    ((request, policy, closes_at),) = world.notifier.asked
    record = world.requests.require_request(REQUEST_ID)
    assert (REQUEST_ID, frozenset({BOB, CAROL}), FRIDAY_NOON + minutes(60)) == (
        request.request_id,
        policy.approvers,
        closes_at,
    )
    assert a_record(needed=2) == record.decisions
    assert ("token-1", "C0APPROVALS") == (record.approval_token, record.approval_card and record.approval_card.channel)
    assert [] == world.executions.woken


def test_asking_again_posts_no_second_card_and_waits_with_the_new_token() -> None:
    """A retried state has a token of its own; the wait does not begin anew."""
    world = asked()
    ask(world, "token-1")
    world.clock.advance(600)
    ask(world, "token-2")

    record = world.requests.require_request(REQUEST_ID)
    assert record.decisions is not None
    assert (1, "token-2", FRIDAY_NOON + minutes(60)) == (
        len(world.notifier.asked),
        record.approval_token,
        record.decisions.closes_at,
    )


def test_a_decision_that_is_recorded_before_the_state_waits_answers_it() -> None:
    """Bob's click came between the card and the end of the function."""
    world = asked()
    world.requests.declare_meanwhile("open_decision", lambda: decide(world, BOB))

    ask(world)

    assert world.executions.woken.count("token-1") >= 1


def test_a_decision_of_an_earlier_try_answers_the_next_ones_token() -> None:
    """The first try died after its card; the decision woke a token that nobody waits for."""
    world = asked()
    ask(world, "token-1")
    decide(world, BOB)
    ask(world, "token-2")

    assert ["token-1", "token-2"] == world.executions.woken


def test_a_decision_that_leaves_the_request_open_does_not_answer() -> None:
    """Two are needed and one came."""
    world = asked(level=WRITE)
    world.requests.declare_meanwhile("open_decision", lambda: decide(world, BOB))

    ask(world)

    assert [] == world.executions.woken


@pytest.mark.parametrize("changes", [{"level": READ}, {"duration_seconds": 99_999}])
def test_nobody_is_asked_when_policy_needs_nobody_by_now(changes: dict[str, object]) -> None:
    """Allowed or denied since: the workflow goes on at once and judges that itself."""
    world = asked(**changes)

    ask(world)

    assert ([], ["token-1"], None) == (
        world.notifier.asked,
        world.executions.woken,
        world.requests.require_request(REQUEST_ID).decisions,
    )


def test_a_slack_that_fails_leaves_the_asking_to_the_next_try() -> None:
    """The deciding is open already, and the card is posted then."""
    world = asked()
    healthy, world.notifier = world.notifier, SilentNotifier()
    with pytest.raises(SlackUnavailableError):
        ask(world, "token-1")
    world.notifier = healthy
    ask(world, "token-2")

    assert (1, "token-2") == (len(healthy.asked), world.requests.require_request(REQUEST_ID).approval_token)


def test_an_unknown_request_is_an_error() -> None:
    """Nothing waits for nobody."""
    with pytest.raises(UnknownRequestError):
        ask(World(catalogue=a_catalogue()))


class SilentNotifier(FakeNotifier):
    """Slack takes nothing."""

    def ask_approvers(self, *_: object) -> None:  # type: ignore[override]  # it never answers
        raise SlackUnavailableError("Slack did not take the message.")


def test_the_opened_record_takes_decisions() -> None:
    """What is opened here is what people decide on."""
    world = asked()
    ask(world)
    record = world.requests.require_request(REQUEST_ID).decisions
    assert record is not None

    judged = judge_decision(
        record=record,
        request=a_request(),
        person=BOB,
        decision=a_decision(BOB),
        policy=a_policy(),
        policy_of_terms=a_policy(),
    )

    assert a_record(BOB, verdict=Verdict.APPROVED) == judged


def test_the_requester_can_follow_it_and_is_told_once() -> None:
    """A retried state whose second card failed posts that one alone."""
    world = asked()
    world.notifier.declare_failing("follow_request")
    with pytest.raises(SlackUnavailableError):
        ask(world, "token-1")
    world.notifier.declare_failing()
    for token in ("token-2", "token-3"):
        ask(world, token)

    record = world.requests.require_request(REQUEST_ID)
    assert (1, [("follow_request", REQUEST_ID)]) == (len(world.notifier.asked), world.notifier.told)
    assert (True, True) == (record.approval_card is not None, record.asked_card is not None)
