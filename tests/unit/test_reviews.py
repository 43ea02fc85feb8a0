"""Break-glass and its review: taken at once, asked about until somebody else has closed it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import LedgerUnavailableError, SlackUnavailableError, UnknownLocationError
from chalicelib.domain.grants import Grant
from chalicelib.domain.locations import Hours, LevelRule
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer, find_reviewers, judge_request
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict, judge_review, seconds_to_reminder
from chalicelib.workflow.check_review import ReviewState, check_review
from chalicelib.workflow.confirm_approval import confirm_approval
from chalicelib.workflow.record_review import record_review
from chalicelib.workflow.request_review import request_review
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    REQUEST_ID,
    a_catalogue,
    a_glass_rule,
    a_location,
    a_request,
    a_review,
    a_rule,
    a_task_token,
    minutes,
)
from tests.fakes import FakeExecutions, FakeGrantLedger, World
from tests.strategies import RULE, level_rules

WEEKEND = Hours.parse("Sat-Sun 00:00-23:59 UTC")
BROKEN = a_request(is_break_glass=True)
DAY = 86_400


def a_glass_catalogue(**changes: object) -> Catalogue:
    """Alice may take operating at once."""
    return a_catalogue(a_location(levels={OPERATE: a_glass_rule(**changes)}))


def taken() -> World:
    """Alice has broken the glass, and the review is open."""
    world = World(catalogue=a_glass_catalogue())
    world.declare_request(is_break_glass=True)
    world.run(check_review, request_id=REQUEST_ID)
    return world


def review(
    world: World, person: Person | None = BOB, *, is_justified: bool = True, note: str = ""
) -> ReviewRecord | Refusal:
    return world.run(record_review, request_id=REQUEST_ID, person=person, is_justified=is_justified, note=note)


def ask(world: World, token: str = "token-1") -> None:
    world.run(request_review, request_id=REQUEST_ID, task_token=a_task_token(token))


class TestPolicy:
    def test_it_passes_over_hours_and_approvals_and_nothing_else(self) -> None:
        """N of M is left out, and the approvers review."""
        outcome = judge_request(BROKEN, catalogue=a_glass_catalogue(hours=WEEKEND, needed=2), now=FRIDAY_NOON)

        assert (PolicyAnswer.ALLOWED, 0, DAY, frozenset({BOB, CAROL})) == (
            outcome.answer,
            outcome.needed,
            outcome.review_seconds,
            outcome.approvers,
        )

    @pytest.mark.parametrize(
        ("request_", "rule", "reason"),
        [
            (BROKEN, {"break_glass": None}, "You may not break the glass"),
            (replace(BROKEN, person=BOB), {}, "You may not break the glass"),
            (BROKEN, {"who": frozenset({"bob"})}, "You may not ask for"),
            (BROKEN, {"cap_seconds": 60}, "is too long"),
            (BROKEN, {"approvers": frozenset({"alice"})}, "Nobody but yourself could review"),
            (replace(BROKEN, person=DAVE), {}, "You are not listed"),
        ],
    )
    def test_everything_else_still_denies(self, request_: AccessRequest, rule: dict[str, object], reason: str) -> None:
        """Who may, how long, and that somebody can look at it afterwards."""
        outcome = judge_request(request_, catalogue=a_glass_catalogue(**rule), now=FRIDAY_NOON)

        assert PolicyAnswer.DENIED is outcome.answer
        assert reason in outcome.reason

    def test_an_ordinary_ask_of_the_same_level_is_judged_as_ever(self) -> None:
        """That the glass may be broken makes nothing else easier."""
        outcome = judge_request(a_request(), catalogue=a_glass_catalogue(), now=FRIDAY_NOON)

        assert (PolicyAnswer.NEEDS_APPROVAL, 0) == (outcome.answer, outcome.review_seconds)

    @RULE
    @given(rule=level_rules(), name=st.sampled_from(["alice", "bob", "carol"]))
    def test_access_that_is_taken_at_once_always_has_somebody_else_to_review_it(
        self, rule: LevelRule, name: str
    ) -> None:
        """Whatever the rule says."""
        person = {"alice": ALICE, "bob": BOB, "carol": CAROL}[name]
        glass = replace(rule, break_glass=a_glass_rule().break_glass, cap_seconds=7200)
        people = (ALICE, BOB, CAROL, DAVE, replace(DAVE, name="erin", slack="U0ERIN"))
        catalogue = a_catalogue(a_location(levels={OPERATE: glass}), people=people)
        request = replace(BROKEN, person=person)
        outcome = judge_request(request, catalogue=catalogue, now=FRIDAY_NOON)

        if outcome.answer is PolicyAnswer.ALLOWED:
            assert outcome.review_seconds > 0
            assert outcome.approvers == find_reviewers(request, catalogue=catalogue) != frozenset()
            assert person not in outcome.approvers


class TestJudging:
    def judge(
        self,
        record: ReviewRecord | None = None,
        *,
        person: Person | None = BOB,
        is_justified: bool = True,
        note: str = "",
    ) -> ReviewRecord | Refusal:
        return judge_review(
            record=record or a_review(),
            request=BROKEN,
            person=person,
            is_justified=is_justified,
            note=note,
            reviewers=frozenset({ALICE, BOB, CAROL}),
            now=FRIDAY_NOON + minutes(5),
        )

    @pytest.mark.parametrize(("is_justified", "verdict"), [(True, "justified"), (False, "not_justified")])
    def test_one_approver_closes_it(self, is_justified: bool, verdict: str) -> None:
        """With the time and the note."""
        assert a_review(
            verdict=ReviewVerdict(verdict),
            reviewer_id=BOB.person_id,
            note="seen",
            closed_at=FRIDAY_NOON + minutes(5),
            version=2,
        ) == self.judge(is_justified=is_justified, note="seen")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"person": ALICE}, "You cannot review your own access"),
            ({"person": replace(ALICE, name="alice-2")}, "You cannot review your own access"),
            ({"person": DAVE}, "You are not an approver"),
            ({"person": None}, "You are not listed"),
            ({"is_justified": False}, "Say in a few words why"),
            ({"record": a_review(verdict=ReviewVerdict.JUSTIFIED)}, "reviewed already (justified)"),
            ({"record": a_review(verdict=ReviewVerdict.NOT_JUSTIFIED)}, "reviewed already (not justified)"),
        ],
    )
    def test_a_review_that_may_not_be_is_refused(self, changes: dict[str, object], reason: str) -> None:
        """Never by who took the access, though the list names them."""
        outcome = self.judge(**changes)  # type: ignore[arg-type]  # each case names its own

        assert isinstance(outcome, Refusal)
        assert reason in outcome.reason


class TestReviewers:
    def test_they_are_the_approvers_of_the_level_but_who_took_it(self) -> None:
        """Bob took it: carol looks at it."""
        assert frozenset({CAROL}) == find_reviewers(replace(BROKEN, person=BOB), catalogue=a_glass_catalogue())

    @pytest.mark.parametrize(
        "catalogue",
        [
            a_catalogue(people=(BOB, CAROL)),
            a_glass_catalogue(cap_seconds=60),
            a_glass_catalogue(break_glass=None),
            a_glass_catalogue(who=frozenset({"bob"})),
            a_catalogue(a_location(levels={READ: a_rule()})),
        ],
        ids=["the requester left", "a lower cap", "no break-glass", "not theirs any more", "the level left"],
    )
    def test_no_change_of_the_catalogue_leaves_a_review_to_nobody(self, catalogue: Catalogue) -> None:
        """Else it would be asked for every day and could never be closed."""
        assert frozenset({BOB, CAROL}) == find_reviewers(BROKEN, catalogue=catalogue)

    def test_a_location_that_left_is_an_error(self) -> None:
        """Nobody knows who would look at it."""
        with pytest.raises(UnknownLocationError):
            find_reviewers(replace(BROKEN, location="orders-old"), catalogue=a_glass_catalogue())


class TestReminders:
    @pytest.mark.parametrize(
        ("late_hours", "hours"), [(0, 12), (11, 1), (12, 12), (23, 1), (24, 24), (30, 18), (48, 24), (100, 20)]
    )
    def test_they_come_at_half_time_when_it_is_due_and_then_each_day(self, late_hours: int, hours: int) -> None:
        """Due after a day."""
        assert hours * 3600 == seconds_to_reminder(a_review(), FRIDAY_NOON + minutes(late_hours * 60))

    @RULE
    @given(st.integers(0, 30 * DAY * 1000), st.integers(0, 100 * DAY * 1000))
    def test_waiting_is_never_too_short_and_never_more_than_a_day_past_the_deadline(
        self, due_ms: int, late_ms: int
    ) -> None:
        """A look a moment too early would ask twice."""
        record = a_review(due_at=FRIDAY_NOON + timedelta(milliseconds=due_ms))
        now = FRIDAY_NOON + timedelta(milliseconds=late_ms)
        wait = seconds_to_reminder(record, now)
        woken = now + timedelta(seconds=wait)

        assert wait >= 1
        assert now >= record.due_at or woken <= record.due_at + timedelta(seconds=1)
        assert now < record.due_at or wait <= DAY
        assert seconds_to_reminder(record, woken) > 1 or due_ms < 10_000 or record.due_at - woken < timedelta(seconds=2)

    def test_a_review_is_asked_for_as_often_as_that_and_no_oftener(self) -> None:
        """Three days without an answer, by the states themselves."""
        world = taken()
        moments: list[datetime] = []
        while world.clock() < FRIDAY_NOON + timedelta(days=3):
            before = len(world.notifier.told)
            ask(world)
            moments += [world.clock()] * (len(world.notifier.told) - before)
            world.clock.advance(world.run(check_review, request_id=REQUEST_ID).wait_seconds)

        assert [0, 12, 24, 48] == [round((moment - FRIDAY_NOON).total_seconds() / 3600) for moment in moments]
        assert ["ask_review", "remind_review", "remind_review", "remind_review"] == [
            name for name, _ in world.notifier.told
        ]


class TestChecking:
    def test_the_review_is_opened_once_with_its_deadline(self) -> None:
        """A day from the first look."""
        world = taken()
        world.clock.advance(3600)

        assert ReviewState(is_closed=False, wait_seconds=11 * 3600) == world.run(check_review, request_id=REQUEST_ID)
        assert a_review() == world.requests.require_request(REQUEST_ID).review
        assert ["review opened"] == world.audit.events(REQUEST_ID)

    def test_a_closed_review_is_closed(self) -> None:
        """And audited."""
        world = taken()
        review(world)

        assert ReviewState(is_closed=True) == world.run(check_review, request_id=REQUEST_ID)
        assert "reviewed" in world.audit.events(REQUEST_ID)

    def test_a_rule_that_has_gone_meanwhile_makes_it_due_at_once(self) -> None:
        """It is not forgotten."""
        world = World()
        world.declare_request(is_break_glass=True)

        assert ReviewState(is_closed=False, wait_seconds=DAY) == world.run(check_review, request_id=REQUEST_ID)

    def test_it_is_under_way_before_the_access_is_there(self) -> None:
        """Whoever dies in between leaves a review too many, never access that nobody looks at."""
        grants = WatchfulGrants()
        world = World(catalogue=a_glass_catalogue(), grants=grants)
        grants.executions = world.executions
        world.declare_request(is_break_glass=True)

        assert world.run(confirm_approval, request_id=REQUEST_ID).is_confirmed
        assert [f"{REQUEST_ID}-review"] == grants.started_before
        assert "review" == world.executions.started[f"{REQUEST_ID}-review"]["purpose"]
        assert world.grant().is_break_glass


class WatchfulGrants(FakeGrantLedger):
    """Remembers what had been started when a grant was made."""

    executions: FakeExecutions
    started_before: Sequence[str] = ()

    def create_grant(self, grant: Grant) -> Grant:
        self.started_before = list(self.executions.started)
        return super().create_grant(grant)


class TestRecording:
    def test_an_approver_closes_it_and_wakes_its_execution(self) -> None:
        """Written first."""
        world = taken()
        ask(world)

        assert review(world) == world.requests.require_request(REQUEST_ID).review
        assert ["token-1"] == world.executions.woken

    @pytest.mark.parametrize("person", [ALICE, DAVE, None])
    def test_who_may_not_review_changes_nothing_and_wakes_nobody(self, person: Person | None) -> None:
        """Each waking would ask the approvers once more, so that a stranger could pester them."""
        world = taken()
        ask(world)

        assert isinstance(review(world, person), Refusal)
        assert (a_review(), []) == (world.requests.require_request(REQUEST_ID).review, world.executions.woken)

    def test_a_click_on_a_closed_review_wakes_again(self) -> None:
        """The first waking may have been lost."""
        world = taken()
        ask(world)
        review(world)

        assert isinstance(review(world, CAROL), Refusal)
        assert ["token-1", "token-1"] == world.executions.woken

    def test_of_two_who_review_at_once_one_stands(self) -> None:
        """The slower one is told to look."""
        world = taken()
        world.requests.declare_meanwhile("require_request", lambda: review(world, CAROL))

        with pytest.raises(LedgerUnavailableError, match="look at the card"):
            review(world, BOB)
        standing = world.requests.require_request(REQUEST_ID).review
        assert standing is not None
        assert CAROL.person_id == standing.reviewer_id

    def test_access_that_was_asked_for_in_the_ordinary_way_has_no_review(self) -> None:
        """There is nothing to close."""
        world = World()
        world.declare_request()

        assert Refusal(reason="R-ABC234 does not wait for a review.") == review(world)


class TestAsking:
    @pytest.mark.parametrize("method", ["keep_review_token", "require_request", "keep_card"])
    def test_a_review_that_comes_while_it_is_asked_for_answers_the_token(self, method: str) -> None:
        """By whoever sees the other."""
        world = taken()
        world.requests.declare_meanwhile(method, lambda: review(world))
        ask(world)

        assert "token-1" in world.executions.woken

    def test_a_slack_that_fails_leaves_the_asking_to_the_next_try(self) -> None:
        """Its card is posted then, once."""
        world = taken()
        world.notifier.declare_failing("ask_review")
        with pytest.raises(SlackUnavailableError):
            ask(world)
        world.notifier.declare_failing()
        ask(world, "token-2")

        record = world.requests.require_request(REQUEST_ID)
        assert ([("ask_review", REQUEST_ID)], "token-2") == (world.notifier.told, record.review_token)
        assert record.review_card is not None

    def test_a_closed_review_is_not_asked_for(self) -> None:
        """Nor waited for."""
        world = taken()
        review(world)
        ask(world)

        assert ([], ["token-1"]) == (world.notifier.told, world.executions.woken)
