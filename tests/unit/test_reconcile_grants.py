"""ReconcileGrants: what its own execution did not see to is seen to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.executions import Progress
from chalicelib.domain.grants import GrantState
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.people import Person
from chalicelib.domain.reviews import ReviewVerdict
from chalicelib.workflow.check_review import check_review
from chalicelib.workflow.reconcile_grants import reconcile_grants
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    FRIDAY_NOON,
    READ,
    REQUEST_ID,
    a_catalogue,
    a_person,
    a_record,
    a_request,
    a_review,
    a_task_token,
    minutes,
    seconds,
)
from tests.fakes import FakeExecutions, World

HOLDERS = [a_person(f"p{number:02}") for number in range(70)]


def hold_for(world: World, request_id: str, holder: Person) -> None:
    """Long access, whose execution runs."""
    world.declare_grant(a_request(request_id=request_id, person=holder), ends_at=FRIDAY_NOON + minutes(900))
    world.executions.declare_running(request_id)


def late(late_minutes: float, *, state: GrantState = GrantState.ENDING) -> World:
    """A grant whose end was so many minutes ago and whose execution is dead."""
    world = World()
    world.declare_grant(state=state, ends_at=FRIDAY_NOON - minutes(late_minutes))
    world.executions.declare_over(REQUEST_ID)
    return world


def asked(minutes_ago: float, **changes: object) -> World:
    """A request without a grant, asked so long ago."""
    world = World()
    world.declare_request(asked_at=FRIDAY_NOON - minutes(minutes_ago), **changes)
    return world


def reconcile(world: World) -> list[str]:
    return list(world.run(reconcile_grants))


def close(world: World, outcome: Outcome = Outcome.FAILED) -> None:
    """The books are closed, and nobody was told."""
    request = world.requests.require_request(REQUEST_ID).request
    world.requests.close_request(
        EndedRequest(request=request, outcome=outcome, ended_at=FRIDAY_NOON, granted_at=None, bastion="")
    )


class TestEndsThatAreLate:
    def test_a_late_end_gets_an_execution_of_its_own(self) -> None:
        """With the same definition, for revoking only; and it is audited."""
        world = late(5)

        assert ["R-ABC234-revoke-2 started"] == reconcile(world)
        document = world.executions.started["R-ABC234-revoke-2"]
        assert (REQUEST_ID, "revoke", None) == (
            document["request_id"],
            document["purpose"],
            document["database"]["order"],
        )
        assert ["repaired"] == world.audit.events(REQUEST_ID)

    def test_a_live_grant_past_its_end_is_seen_to_as_well(self) -> None:
        """Its execution died while it held."""
        assert ["R-ABC234-revoke-2 started"] == reconcile(late(5, state=GrantState.LIVE))

    def test_a_grant_is_left_to_its_own_execution_for_a_while(self) -> None:
        """Two minutes after its end; a dead execution is found out before."""
        assert [] == reconcile(late(1.9))

    @pytest.mark.parametrize("name", [REQUEST_ID, f"{REQUEST_ID}-revoke-1"])
    def test_a_grant_that_somebody_sees_to_is_left_to_them(self, name: str) -> None:
        """They may be waiting for the database."""
        world = late(5)
        world.executions.declare_running(name)

        assert [] == reconcile(world)

    def test_an_execution_that_the_list_misses_is_asked_about(self) -> None:
        """The list of what is under way is a moment old."""

        class ListsNothing(FakeExecutions):
            def running(self) -> frozenset[str]:
                return frozenset()

        world = late(5)
        world.executions = ListsNothing()
        world.executions.declare_running(REQUEST_ID)

        assert [] == reconcile(world)

    def test_a_grant_that_is_gone_is_over(self) -> None:
        """There is a receipt, and people were told."""
        world = late(500, state=GrantState.GONE)
        close(world, Outcome.FINISHED)
        world.requests.keep_reported(REQUEST_ID)

        assert [] == reconcile(world)

    def test_asking_twice_at_the_same_time_starts_one_execution(self) -> None:
        """The name follows from the lateness, and a repeated turn is no repair."""
        world = late(5)

        assert (["R-ABC234-revoke-2 started"], []) == (reconcile(world), reconcile(world))
        assert ["repaired"] == world.audit.events(REQUEST_ID)

    def test_attempts_go_on_until_there_is_a_receipt(self) -> None:
        """On a schedule of five minutes, each attempt failing at once: often at first, then hourly, for as long as it takes."""
        world = late(0)
        for _ in range(12 * 24):
            world.clock.advance(300)
            reconcile(world)
            world.executions.declare_over(*world.executions.started)
        attempts = [name for name in world.executions.started if "revoke" in name]
        hourly = [name for name in attempts if int(name.rpartition("-")[2]) > 5]

        assert (28, 24) == (len(attempts), len(hourly))

    def test_each_late_grant_has_its_own(self) -> None:
        """Whoever they are."""
        world = late(5)
        world.declare_grant(a_request(request_id="R-BBB222", person=BOB), ends_at=FRIDAY_NOON - minutes(90))
        world.declare_grant(a_request(request_id="R-READ22", level=READ), ends_at=FRIDAY_NOON + minutes(90))
        world.executions.declare_running("R-READ22")

        assert ["R-ABC234-revoke-2 started", "R-BBB222-revoke-6 started"] == reconcile(world)

    def test_one_that_fails_does_not_keep_the_others_from_their_turn(self) -> None:
        """All are tried; then the turn says what failed, so that an alarm can."""

        class OneFails(FakeExecutions):
            def find_progress(self, name: str) -> Progress:
                if name == "R-AAA222":
                    raise LedgerUnavailableError("The workflow did not answer.")
                return super().find_progress(name)

        world = late(5)
        world.declare_grant(a_request(request_id="R-AAA222", person=BOB), ends_at=FRIDAY_NOON - minutes(90))
        world.executions = OneFails()
        world.executions.declare_over(REQUEST_ID)

        with pytest.raises(LedgerUnavailableError, match="R-AAA222"):
            reconcile(world)

        assert "R-ABC234-revoke-2" in world.executions.started


class TestDeadExecutions:
    def test_access_that_nobody_would_end_is_ended(self) -> None:
        """Somebody stopped the execution: nobody could extend the access, end it or be warned."""
        world = World()
        world.declare_grant(ends_at=FRIDAY_NOON + minutes(200))
        world.executions.declare_over(REQUEST_ID)
        world.clock.advance(300)

        assert ["R-ABC234-revoke-2 started"] == reconcile(world)

    def test_a_request_whose_execution_died_gets_an_end(self) -> None:
        """It would keep its place among the person's open ones for ever, and its card the buttons."""
        world = asked(30)
        world.executions.declare_over(REQUEST_ID)

        assert ["R-ABC234-revoke-4 started"] == reconcile(world)

    def test_a_request_whose_execution_never_began_is_begun(self) -> None:
        """It was filed, and the endpoint died before it could start it."""
        world = asked(5)

        assert ["R-ABC234 started"] == reconcile(world)
        assert "grant" == world.executions.started[REQUEST_ID]["purpose"]

    def test_an_extension_that_never_began_is_begun_as_one(self) -> None:
        """Its document says what it is for."""
        world = asked(5, extends="R-DEF567")

        assert ["R-ABC234 started"] == reconcile(world)
        assert "extend" == world.executions.started[REQUEST_ID]["purpose"]

    def test_a_request_of_this_moment_is_left_alone(self) -> None:
        """Between filing and starting there is a moment."""
        assert [] == reconcile(asked(1.9))

    def test_an_end_that_nobody_was_told_is_told(self) -> None:
        """Slack was down for longer than the workflow tries."""
        world = asked(60)
        world.executions.declare_over(REQUEST_ID)
        close(world)

        assert ["R-ABC234-revoke-6 started"] == reconcile(world)

    def test_an_end_that_was_told_is_over(self) -> None:
        """Nobody looks after it any more."""
        world = asked(60)
        world.executions.declare_over(REQUEST_ID)
        close(world)
        world.requests.keep_reported(REQUEST_ID)

        assert [] == reconcile(world)


class TestLateQuestions:
    @pytest.mark.parametrize(
        ("outcome", "verdict"), [(Outcome.FAILED, Verdict.TIMED_OUT), (Outcome.CANCELLED, Verdict.CANCELLED)]
    )
    def test_a_question_that_was_opened_after_the_end_is_closed(self, outcome: Outcome, verdict: Verdict) -> None:
        """The write came after its caller had died and the request had ended; approvers would find it among what is open."""
        world = asked(60)
        world.executions.declare_over(REQUEST_ID)
        if outcome is Outcome.CANCELLED:
            world.requests.ask_end(REQUEST_ID, at=FRIDAY_NOON)
        close(world, outcome)
        world.requests.keep_reported(REQUEST_ID)
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))

        assert (["R-ABC234: its question closed"], []) == (reconcile(world), reconcile(world))
        assert [] == list(world.requests.requests_to_decide())
        decisions = world.requests.require_request(REQUEST_ID).decisions
        assert decisions is not None
        assert verdict is decisions.verdict
        assert ["repaired"] == world.audit.events(REQUEST_ID)

    def test_a_question_of_a_request_that_has_not_ended_stays_open(self) -> None:
        """Whatever became of its execution: what is started for it closes the question."""
        world = asked(30)
        world.executions.declare_over(REQUEST_ID)
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))

        assert ["R-ABC234-revoke-4 started"] == reconcile(world)
        assert [REQUEST_ID] == list(world.requests.requests_to_decide())

    def test_an_answer_that_comes_at_the_same_moment_stands(self) -> None:
        """Somebody was faster; there is nothing left to close."""
        world = asked(60)
        close(world)
        world.requests.keep_reported(REQUEST_ID)
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
        denied = a_record(verdict=Verdict.DENIED, version=2)
        world.requests.declare_meanwhile("find_requests", lambda: world.requests.replace_decision(denied))

        assert [] == reconcile(world)
        assert denied == world.requests.require_request(REQUEST_ID).decisions


class TestUnheardSignals:
    @pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.OPEN])
    def test_a_decision_that_was_recorded_is_signalled(self, verdict: Verdict) -> None:
        """Whoever decided died before waking the workflow."""
        world = asked(5)
        world.executions.declare_running(REQUEST_ID)
        world.requests.open_decision(a_record(verdict=verdict), task_token=a_task_token("token-1"))

        assert ["R-ABC234 woken"] == reconcile(world)
        assert ["token-1"] == world.executions.woken

    def test_an_open_decision_is_waited_for(self) -> None:
        """By its own execution, which has a timeout."""
        world = asked(50)
        world.executions.declare_running(REQUEST_ID)
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))

        assert [] == reconcile(world)

    def test_an_end_that_was_asked_for_is_signalled(self) -> None:
        """The hold wakes, and looks at the ledger."""
        world = World()
        world.declare_grant()
        world.executions.declare_running(REQUEST_ID)
        world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-2"))
        world.requests.ask_end(REQUEST_ID, at=FRIDAY_NOON - minutes(3))

        assert ["R-ABC234 woken"] == reconcile(world)
        assert ["token-2"] == world.executions.woken

    def test_an_end_asked_for_a_moment_ago_is_on_its_way(self) -> None:
        """The one who asked wakes the hold."""
        world = World()
        world.declare_grant()
        world.executions.declare_running(REQUEST_ID)
        world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-2"))
        world.requests.ask_end(REQUEST_ID, at=FRIDAY_NOON - minutes(1))

        assert [] == reconcile(world)


class TestReplacedBastions:
    def hold(self, *, told: str | None, tried: bool = False) -> World:
        world = World()
        world.declare_grant(instance_id="i-2")
        world.executions.declare_running(REQUEST_ID)
        world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-2"))
        world.requests.keep_told(REQUEST_ID, instance_id=told)
        if tried:
            world.requests.keep_tell_try(REQUEST_ID, at=FRIDAY_NOON)
        return world

    def test_whoever_was_told_another_instance_is_woken(self) -> None:
        """Housekeeping has changed the grant and signals nobody itself; the hold tells the holder."""
        world = self.hold(told="i-1")

        assert (["R-ABC234 woken"], ["token-2"]) == (reconcile(world), world.executions.woken)

    @pytest.mark.parametrize(("told", "tried"), [("i-2", False), (None, False), ("i-1", True)])
    def test_whoever_knows_or_is_being_told_is_left_alone(self, told: str | None, tried: bool) -> None:
        """The hold itself tries again what Slack did not take."""
        assert [] == reconcile(self.hold(told=told, tried=tried))


class TestHolders:
    def hold(self, world: World) -> World:
        world.declare_grant()
        world.executions.declare_running(REQUEST_ID)
        world.requests.keep_hold_token(REQUEST_ID, a_task_token("token-2"))
        return world

    def test_whoever_is_deactivated_holds_nothing(self) -> None:
        """The end is asked for in their place, and the reason audited."""
        world = self.hold(World())
        world.members.declare_gone(ALICE.person_id)

        assert ["R-ABC234 ended: its holder is deactivated"] == reconcile(world)
        assert FRIDAY_NOON == world.requests.require_request(REQUEST_ID).end_asked_at
        assert ["token-2"] == world.executions.woken

    def test_whoever_was_dropped_from_the_catalogue_holds_nothing(self) -> None:
        """Slack need not be asked."""
        world = self.hold(World(catalogue=a_catalogue(people=(BOB, CAROL))))

        assert ["R-ABC234 ended: its holder is not in the catalogue any more"] == reconcile(world)

    def test_an_end_is_asked_for_once(self) -> None:
        """The next turn finds it asked for."""
        world = self.hold(World())
        world.members.declare_gone(ALICE.person_id)

        assert (1, 0) == (len(reconcile(world)), len(reconcile(world)))

    def test_members_keep_what_they_hold(self) -> None:
        """Nothing is to be repaired."""
        assert [] == reconcile(self.hold(World()))

    def test_a_silent_slack_ends_nobodys_access(self) -> None:
        """Nor does it keep others from their turn."""
        world = self.hold(World())
        world.members.declare_unanswering()

        assert [] == reconcile(world)

    def test_a_slow_slack_keeps_nothing_else_waiting(self) -> None:
        """A function that asked it about everybody would be killed before it has repaired anything."""
        world = World(catalogue=a_catalogue(people=(*HOLDERS, BOB, CAROL)))
        for number, holder in enumerate(HOLDERS):
            hold_for(world, f"R-AAA{number + 200:03}", holder)
        world.members.declare_slow(lambda: world.clock.advance(9))
        reconcile(world)

        assert world.clock() - FRIDAY_NOON < seconds(30)
        assert 0 < len(world.members.asked)

    def test_a_slow_slack_is_asked_about_everybody_in_the_end(self) -> None:
        """Each turn begins with somebody else."""
        world = World(catalogue=a_catalogue(people=(*HOLDERS[:10], BOB, CAROL)))
        for number, holder in enumerate(HOLDERS[:10]):
            hold_for(world, f"R-AAA{number + 200:03}", holder)
        world.members.declare_slow(lambda: world.clock.advance(9))
        for _ in range(20):
            reconcile(world)
            world.clock.advance(300)

        assert {holder.person_id for holder in HOLDERS[:10]} == {*world.members.asked}

    def test_with_many_holders_each_turn_asks_about_others(self) -> None:
        """In the end about everybody, and never about more than a few at once."""
        world = World(catalogue=a_catalogue(people=(*HOLDERS, BOB, CAROL)))
        for number, holder in enumerate(HOLDERS):
            hold_for(world, f"R-AAA{number + 200:03}", holder)
        asked_at_most = 0
        for _ in range(20):
            before = len(world.members.asked)
            reconcile(world)
            asked_at_most = max(asked_at_most, len(world.members.asked) - before)
            world.clock.advance(300)

        assert 30 == asked_at_most
        assert {holder.person_id for holder in HOLDERS} == {*world.members.asked}


class TestReviews:
    def open(self, opened_minutes_ago: float, **changes: object) -> World:
        world = World()
        world.declare_request(is_break_glass=True)
        world.requests.open_review(a_review(opened_at=FRIDAY_NOON - minutes(opened_minutes_ago), **changes))
        world.requests.keep_review_token(REQUEST_ID, a_task_token("token-3"))
        world.executions.declare_running(REQUEST_ID)
        return world

    def test_a_review_whose_execution_died_goes_on(self) -> None:
        """Somebody must still say whether it was justified."""
        world = self.open(90)
        world.executions.declare_over(f"{REQUEST_ID}-review")

        assert ["R-ABC234-review-6 started"] == reconcile(world)
        assert "review" == world.executions.started["R-ABC234-review-6"]["purpose"]

    @pytest.mark.parametrize("name", ["R-ABC234-review", "R-ABC234-review-6"])
    def test_a_review_that_is_seen_to_is_left_alone(self, name: str) -> None:
        """It reminds by itself."""
        world = self.open(90)
        world.executions.declare_running(name)

        assert [] == reconcile(world)

    def closed(self, minutes_ago: float) -> World:
        return self.open(90, verdict=ReviewVerdict.JUSTIFIED, closed_at=FRIDAY_NOON - minutes(minutes_ago))

    def test_a_review_whose_closing_was_noticed_needs_nobody(self) -> None:
        """Its execution is over."""
        world = self.closed(5)
        world.requests.keep_reviewed(REQUEST_ID)

        assert [] == reconcile(world)

    def test_a_review_that_was_closed_just_now_is_left_alone(self) -> None:
        """Whoever closed it is about to say so."""
        assert [] == reconcile(self.closed(1))

    def test_a_closing_that_nobody_heard_of_is_said_again(self) -> None:
        """Who closed it died before they could say so; the execution would wait until it reminds."""
        world = self.closed(5)
        world.executions.declare_running(f"{REQUEST_ID}-review")

        assert ["R-ABC234 woken"] == reconcile(world)
        assert ["token-3"] == world.executions.woken

    def test_a_closing_that_no_execution_is_left_to_hear_of_starts_one(self) -> None:
        """Else the trail would never have it."""
        world = self.closed(5)
        reconcile(world)
        world.run(check_review, request_id=REQUEST_ID)

        assert "review" == world.executions.started["R-ABC234-review-6"]["purpose"]
        assert "reviewed" in world.audit.events(REQUEST_ID)
        assert [] == list(world.requests.requests_to_review())


@given(
    ends_in=st.integers(-600, 600),
    state=st.sampled_from(GrantState),
    progress=st.sampled_from(Progress),
    is_listed=st.booleans(),
    is_active=st.booleans(),
)
def test_nobody_loses_access_that_is_theirs(
    ends_in: int, state: GrantState, progress: Progress, is_listed: bool, is_active: bool
) -> None:
    """A live grant whose execution runs, held by a listed member, is never touched before its end; any other open one is."""
    world = World(catalogue=a_catalogue(people=(ALICE, BOB, CAROL) if is_listed else (BOB, CAROL)))
    world.declare_grant(
        a_request(asked_at=FRIDAY_NOON - minutes(700)), state=state, ends_at=FRIDAY_NOON + minutes(ends_in)
    )
    if progress is not Progress.UNKNOWN:
        (world.executions.declare_running if progress is Progress.RUNNING else world.executions.declare_over)(
            REQUEST_ID
        )
    if not is_active:
        world.members.declare_gone(ALICE.person_id)
    repairs = reconcile(world)

    if progress is Progress.RUNNING:
        assert (state is GrantState.LIVE and not (is_listed and is_active)) == bool(repairs)
    elif state is not GrantState.GONE and not -2 < ends_in <= 0:
        assert repairs
