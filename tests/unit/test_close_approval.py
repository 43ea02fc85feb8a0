"""CloseApproval: the waiting is over, and the ledger says how."""

import pytest

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.close_approval import ClosedApproval, close_approval
from chalicelib.workflow.record_decision import record_decision
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    REQUEST_ID,
    a_record,
    a_task_token,
)
from tests.fakes import World

APPROVED = ClosedApproval(verdict=Verdict.APPROVED)
CARD = CardReference(channel="C0APPROVALS", ts="1.2")


def waited(record: DecisionRecord | None = None) -> World:
    """A request whose approvers were asked."""
    world = World()
    world.declare_request()
    world.requests.open_decision(record or a_record(), task_token=a_task_token("token-1"))
    world.requests.keep_card(REQUEST_ID, "approval", CARD)
    return world


def close(world: World) -> ClosedApproval:
    return world.run(close_approval, request_id=REQUEST_ID)


def verdict_of(world: World) -> Verdict | None:
    record = world.requests.require_request(REQUEST_ID).decisions
    return record and record.verdict


def test_what_was_decided_stands() -> None:
    """And is shown on the card and audited."""
    approved = a_record(BOB, verdict=Verdict.APPROVED)
    world = waited(approved)

    assert APPROVED == close(world)
    assert [(CARD, approved)] == world.notifier.decisions
    assert ["decided", "approval closed"] == world.audit.events(REQUEST_ID)


def test_a_card_that_slack_does_not_take_keeps_nobody_waiting() -> None:
    """Whatever comes of the request brings it up to date."""
    world = waited(a_record(BOB, verdict=Verdict.APPROVED))
    world.notifier.declare_failing("show_decision")

    assert APPROVED == close(world)
    assert ["decided", "approval closed"] == world.audit.events(REQUEST_ID)


def test_what_was_not_decided_has_timed_out() -> None:
    """From now on no decision is taken."""
    world = waited()

    assert ClosedApproval(verdict=Verdict.TIMED_OUT) == close(world)
    assert verdict_of(world) is Verdict.TIMED_OUT
    assert [Verdict.TIMED_OUT] == [record.verdict for _, record in world.notifier.decisions]


def test_closing_again_gives_the_same_verdict() -> None:
    """Safe to repeat."""
    world = waited()

    assert 1 == len({close(world) for _ in range(2)})


def test_a_decision_at_the_last_moment_wins_over_the_timeout() -> None:
    """Bob's yes was written between the reading and the closing."""
    world = waited()
    world.requests.declare_meanwhile(
        "require_request", lambda: world.run(record_decision, request_id=REQUEST_ID, person=BOB, approves=True)
    )

    assert APPROVED == close(world)
    assert verdict_of(world) is Verdict.APPROVED


def test_a_request_that_needed_nobody_goes_on() -> None:
    """ConfirmApproval judges by itself whether that is so."""
    world = World()
    world.declare_request()

    assert APPROVED == close(world)
    assert ([], []) == (world.notifier.decisions, world.audit.events(REQUEST_ID))


def test_a_request_without_a_card_is_closed_silently() -> None:
    """Its card was never posted."""
    world = World()
    world.declare_request()
    world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))

    assert ClosedApproval(verdict=Verdict.TIMED_OUT) == close(world)
    assert [] == world.notifier.decisions


def test_a_record_that_keeps_changing_is_given_up_with_an_error() -> None:
    """The state tries again."""
    world = waited()

    def touch() -> None:
        record = world.requests.require_request(REQUEST_ID).decisions
        assert record is not None
        assert world.requests.replace_decision(a_record(version=record.version + 1))

    world.requests.declare_meanwhile("require_request", touch, times=99)

    with pytest.raises(LedgerUnavailableError):
        world.run(close_approval, request_id=REQUEST_ID)


def test_what_the_requester_took_back_before_anybody_decided_is_cancelled() -> None:
    """The asking for the end was recorded when there was nothing to decide yet."""
    world = waited()
    world.run(ask_end, request_id=REQUEST_ID, person=ALICE)

    assert ClosedApproval(verdict=Verdict.CANCELLED) == close(world)
    assert verdict_of(world) is Verdict.CANCELLED


def test_taking_back_does_not_undo_what_was_decided() -> None:
    """The confirmation that follows refuses; the card tells who decided."""
    world = waited(a_record(BOB, verdict=Verdict.APPROVED))
    world.run(ask_end, request_id=REQUEST_ID, person=ALICE)

    assert APPROVED == close(world)


class TestLeavers:
    """Slack knows first who is no full member any more."""

    def test_the_yes_of_somebody_who_left_does_not_count(self) -> None:
        """And too few left is a no, with the reason."""
        world = waited(a_record(BOB, verdict=Verdict.APPROVED))
        world.members.declare_gone(BOB.person_id)
        closing = close(world)

        assert (Verdict.DENIED, Verdict.DENIED) == (closing.verdict, verdict_of(world))
        assert "no full member of the workspace any more" in closing.reason

    def test_enough_others_are_enough(self) -> None:
        """What is left is shown and audited."""
        world = waited(a_record(BOB, CAROL, verdict=Verdict.APPROVED))
        world.members.declare_gone(BOB.person_id, "is a guest")

        assert APPROVED == close(world)
        assert (BOB.person_id,) == world.notifier.decisions[0][1].void

    @pytest.mark.parametrize("record", [None, a_record(BOB, verdict=Verdict.APPROVED)], ids=["automatic", "approved"])
    def test_a_requester_who_left_gets_nothing(self, record: DecisionRecord | None) -> None:
        """Whether or not anybody had to agree."""
        world = World()
        world.declare_request()
        if record is not None:
            world.requests.open_decision(record, task_token=a_task_token("token-1"))
        world.members.declare_gone(ALICE.person_id)

        assert ClosedApproval(
            verdict=Verdict.DENIED, reason="You get no access: your Slack user is deactivated."
        ) == close(world)

    def test_closing_again_takes_nobody_away_twice(self) -> None:
        """Safe to repeat."""
        world = waited(a_record(BOB, CAROL, verdict=Verdict.APPROVED))
        world.members.declare_gone(BOB.person_id)

        assert close(world) == close(world)
        assert (BOB.person_id,) == world.notifier.decisions[-1][1].void
