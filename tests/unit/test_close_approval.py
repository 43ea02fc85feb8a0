"""CloseApproval: the waiting is over, and the ledger says how."""

import pytest

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.workflow.close_approval import close_approval
from chalicelib.workflow.record_decision import record_decision
from tests.factories import BOB, REQUEST_ID, a_record
from tests.fakes import World

CARD = CardReference(channel="C0APPROVALS", ts="1.2")


def waited(record: DecisionRecord | None = None) -> World:
    """A request whose approvers were asked."""
    world = World()
    world.declare_request()
    world.requests.open_decision(record or a_record(), task_token="token-1")
    world.requests.keep_approval_card(REQUEST_ID, CARD)
    return world


def verdict_of(world: World) -> Verdict | None:
    record = world.requests.require_request(REQUEST_ID).decisions
    return record and record.verdict


def test_what_was_decided_stands() -> None:
    """And is shown on the card and audited."""
    approved = a_record(BOB, verdict=Verdict.APPROVED)
    world = waited(approved)

    assert world.run(close_approval, request_id=REQUEST_ID) is Verdict.APPROVED
    assert [(CARD, approved)] == world.notifier.decisions
    assert ["decided"] == world.audit.events(REQUEST_ID)


def test_what_was_not_decided_has_timed_out() -> None:
    """From now on no decision is taken."""
    world = waited()

    assert world.run(close_approval, request_id=REQUEST_ID) is Verdict.TIMED_OUT
    assert verdict_of(world) is Verdict.TIMED_OUT
    assert [Verdict.TIMED_OUT] == [record.verdict for _, record in world.notifier.decisions]


def test_closing_again_gives_the_same_verdict() -> None:
    """Safe to repeat."""
    world = waited()

    assert 1 == len({world.run(close_approval, request_id=REQUEST_ID) for _ in range(2)})


def test_a_decision_at_the_last_moment_wins_over_the_timeout() -> None:
    """Bob's yes was written between the reading and the closing."""
    world = waited()
    world.requests.declare_meanwhile(
        "require_request", lambda: world.run(record_decision, request_id=REQUEST_ID, person=BOB, approves=True)
    )

    assert world.run(close_approval, request_id=REQUEST_ID) is Verdict.APPROVED
    assert verdict_of(world) is Verdict.APPROVED


def test_a_request_that_needed_nobody_goes_on() -> None:
    """ConfirmApproval judges by itself whether that is so."""
    world = World()
    world.declare_request()

    assert world.run(close_approval, request_id=REQUEST_ID) is Verdict.APPROVED
    assert ([], []) == (world.notifier.decisions, world.audit.events(REQUEST_ID))


def test_a_request_without_a_card_is_closed_silently() -> None:
    """Its card was never posted."""
    world = World()
    world.declare_request()
    world.requests.open_decision(a_record(), task_token="token-1")

    assert world.run(close_approval, request_id=REQUEST_ID) is Verdict.TIMED_OUT
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
