"""ReportOutcome: the end is named and told, and the receipt alone makes a grant gone."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Course, Outcome, Prepared, Purpose, StepError
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import GrantState
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.workflow.report_outcome import report_outcome
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    REQUEST_ID,
    a_course,
    a_grant,
    a_receipt,
    a_record,
    a_request,
    a_task_token,
    minutes,
)
from tests.fakes import FakeNotifier, World

UNANSWERED = Prepared(is_ok=False, error=StepError(Error="States.Timeout"))
SILENT = a_course(database_user=UNANSWERED)


def ending(**changes: Any) -> World:
    """A grant that was ordered and is ending."""
    world = World()
    world.declare_grant(**{"state": GrantState.ENDING, "is_ordered": True, **changes})
    return world


def report(
    world: World, course: Course | None = None, *, receipt: Receipt | None = None, tunnels: ClosedTunnels | None = None
) -> Outcome:
    return world.run(
        report_outcome,
        request_id=REQUEST_ID,
        course=course or a_course(),
        receipt=receipt,
        tunnels=tunnels or ClosedTunnels(),
    )


class TestTelling:
    def test_the_people_are_told_everything_that_is_known(self) -> None:
        """On the cards that stand already."""
        world = ending()
        approval, ready = CardReference(channel="C0APPROVALS", ts="1.2"), CardReference(channel="D0ALICE", ts="3.4")
        decided = a_record(BOB, verdict=Verdict.APPROVED)
        world.requests.open_decision(decided, task_token=a_task_token("token-1"))
        world.requests.keep_card(REQUEST_ID, "approval", approval)
        world.requests.keep_card(REQUEST_ID, "ready", ready)
        closed = ClosedTunnels(ended=("mine",))

        report(world, receipt=a_receipt(), tunnels=closed)

        (told,) = world.notifier.endings
        assert (a_request(), Outcome.FINISHED, "", decided, a_receipt(), closed, True, approval, ready) == (
            told.request,
            told.outcome,
            told.explanation,
            told.decisions,
            told.receipt,
            told.tunnels,
            told.is_revoked,
            told.approval_card,
            told.ready_card,
        )

    def test_the_outcome_is_recorded_and_audited_with_the_receipt(self) -> None:
        """Each once."""
        world = ending()
        report(world, receipt=a_receipt())

        assert world.requests.require_request(REQUEST_ID).outcome is Outcome.FINISHED
        assert ["ended", "receipt"] == world.audit.events(REQUEST_ID)

    def test_a_denied_request_is_told_its_reason(self) -> None:
        """There was never a grant, so there is nothing to revoke."""
        world = World()
        world.declare_request()
        denied = a_course(policy_answer="denied", policy_reason="Too long.", is_confirmed=False)

        assert report(world, denied) is Outcome.DENIED
        (told,) = world.notifier.endings
        assert ("Too long.", None, None, True) == (told.explanation, told.grant, told.receipt, told.is_revoked)

    def test_reporting_again_keeps_the_outcome(self) -> None:
        """A later execution that only revokes does not rewrite the books; what changed is told."""
        world = ending()
        report(world)
        revoked = report(world, a_course(purpose=Purpose.REVOKE), receipt=a_receipt())

        assert revoked is Outcome.FINISHED
        assert [(False, ""), (True, "")] == [(told.is_revoked, told.explanation) for told in world.notifier.endings]
        assert ["ended", "receipt"] == world.audit.events(REQUEST_ID)

    def test_a_slack_that_fails_is_an_error_after_the_books_are_closed(self) -> None:
        """The retry tells; the books stay."""
        world = ending()
        healthy, world.notifier = world.notifier, SilentNotifier()
        with pytest.raises(SlackUnavailableError):
            report(world, receipt=a_receipt())
        closed = world.requests.require_request(REQUEST_ID).outcome
        world.notifier = healthy
        report(world, receipt=a_receipt())

        assert (Outcome.FINISHED, 1, True) == (closed, len(healthy.endings), healthy.endings[0].is_revoked)

    def test_an_end_that_slack_did_not_take_stays_to_be_told(self) -> None:
        """Even a later execution that revokes nothing new then tells it, once."""
        world = ending()
        healthy, world.notifier = world.notifier, SilentNotifier()
        with pytest.raises(SlackUnavailableError):
            report(world, receipt=None)
        untold = list(world.requests.unreported_requests())
        world.notifier = healthy
        for _ in range(2):
            report(world, a_course(purpose=Purpose.REVOKE), receipt=None)

        assert ([REQUEST_ID], [], 1) == (untold, list(world.requests.unreported_requests()), len(healthy.endings))

    def test_a_revocation_that_fails_again_says_nothing_new(self) -> None:
        """It was said once that it is tried until it succeeds; the success is told."""
        world = ending()
        report(world, receipt=None)

        report(world, a_course(purpose=Purpose.REVOKE), receipt=None)
        told_before = len(world.notifier.endings)
        report(world, a_course(purpose=Purpose.REVOKE), receipt=a_receipt())

        assert 1 == told_before
        assert [False, True] == [told.is_revoked for told in world.notifier.endings]

    def test_a_deciding_that_failed_on_its_way_waits_for_nobody_any_more(self) -> None:
        """Else it would stand among what people have to decide for ever."""
        world = World()
        world.declare_request()
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
        report(world, a_course(failure=StepError(Error="SlackUnavailableError"), is_confirmed=False))

        assert [] == world.requests.requests_to_decide()

    def test_the_history_holds_what_was_given(self) -> None:
        """When it was granted, on which bastion, and how it ended."""
        world = ending()
        report(world, receipt=a_receipt())

        (ended,) = world.requests.ended_requests(a_request().person.person_id, most=5)
        assert (Outcome.FINISHED, FRIDAY_NOON, "main") == (ended.outcome, ended.granted_at, ended.bastion)

    def test_an_extension_leaves_the_access_alone_that_it_extended(self) -> None:
        """It has no grant of its own."""
        world = World()
        held = world.declare_grant(is_ordered=True)
        world.requests.declare_request(a_request(request_id="R-LNGER2", extends=REQUEST_ID))
        outcome = world.run(
            report_outcome,
            request_id="R-LNGER2",
            course=a_course(purpose=Purpose.EXTEND),
            receipt=None,
            tunnels=ClosedTunnels(),
        )

        assert (Outcome.FINISHED, held) == (outcome, world.grant())
        assert (None, True) == (world.notifier.endings[0].grant, world.notifier.endings[0].is_revoked)

    def test_the_person_may_ask_again_afterwards(self) -> None:
        """Their place is free."""
        world = ending()
        report(world, receipt=a_receipt())

        assert world.requests.file_request(a_request(), origin_id="trigger-9", open_limit=3).is_new


class SilentNotifier(FakeNotifier):
    """Slack takes nothing."""

    def report(self, ending: object) -> None:
        raise SlackUnavailableError("Slack did not take the message.")


class TestGone:
    def test_a_receipt_that_proves_the_end_makes_the_grant_gone(self) -> None:
        """Nothing else does."""
        world = ending()
        report(world, receipt=a_receipt())

        assert world.grant().state is GrantState.GONE

    @pytest.mark.parametrize("receipt", [None, a_receipt(sessions=1), a_receipt(can_log_in=True)])
    def test_without_such_a_receipt_the_grant_stays_ending(self, receipt: Receipt | None) -> None:
        """And housekeeping goes on; the people are told that it is not over."""
        world = ending()
        report(world, receipt=receipt)

        assert world.grant().state is GrantState.ENDING
        assert not world.notifier.endings[0].is_revoked

    @pytest.mark.parametrize("late", [-1, 0])
    def test_a_receipt_before_an_unanswered_order_is_over_proves_nothing(self, late: float) -> None:
        """Provisioning may still commit after it."""
        world = ending()
        receipt = a_receipt(read_at=world.grant().provision_by + minutes(late))
        report(world, SILENT, receipt=receipt)

        assert world.grant().state is GrantState.ENDING

    def test_a_receipt_after_an_unanswered_order_is_over_proves_the_end(self) -> None:
        """Then nothing can commit any more."""
        world = ending()
        report(world, SILENT, receipt=a_receipt(read_at=world.grant().provision_by + minutes(1)))

        assert world.grant().state is GrantState.GONE

    def test_a_grant_that_was_never_ordered_needs_no_receipt(self) -> None:
        """Nothing was made in any database."""
        world = ending(is_ordered=False)
        report(world, a_course(failure=StepError(Error="States.Timeout")))

        assert (GrantState.GONE, True) == (world.grant().state, world.notifier.endings[0].is_revoked)

    def test_an_order_that_is_noted_at_the_last_moment_keeps_the_grant_from_being_gone(self) -> None:
        """It was seen as never ordered; the ledger knows better, so housekeeping will revoke it."""
        world = ending(is_ordered=False)
        ordered = replace(world.grant(), is_ordered=True)
        world.grants.declare_meanwhile("find_grant", lambda: world.grants.declare_grant(ordered))
        report(world)

        assert world.grant().state is GrantState.ENDING

    def test_a_role_that_a_newer_request_took_over_ends_the_older_ones_part(self) -> None:
        """The receipt names it."""
        world = ending()
        report(world, receipt=a_receipt(superseded_by="R-NEXT22"))

        assert world.grant().state is GrantState.GONE

    def test_another_requests_grant_is_never_touched(self) -> None:
        """This request lost to it."""
        world = World()
        world.declare_request()
        held = world.grants.declare_grant(a_grant(a_request(request_id="R-HELD22"), is_ordered=True))
        report(world, a_course(is_confirmed=False, confirmation_reason="You hold it."), receipt=a_receipt())

        assert held == world.grant()
        assert world.notifier.endings[0].grant is None

    def test_a_revocation_that_is_seen_through_much_later_makes_the_grant_gone(self) -> None:
        """By an execution that knows nothing of how provisioning went."""
        world = ending()
        course = a_course(purpose=Purpose.REVOKE, bastion=UNANSWERED, database_user=UNANSWERED)
        report(world, course, receipt=a_receipt(read_at=FRIDAY_NOON + minutes(120)))

        assert world.grant().state is GrantState.GONE
