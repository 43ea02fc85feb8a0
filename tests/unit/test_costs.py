"""What a month has cost, and what a spent budget stops."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.costs import BASTION_HOUR, REQUEST, CostReport, Use, month_of, reckon_month
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.filings import Asked
from chalicelib.domain.grants import GrantState
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.requests import Ask
from chalicelib.workflow.ask_extension import ask_extension
from chalicelib.workflow.check_policy import check_policy
from chalicelib.workflow.file_request import file_request
from chalicelib.workflow.read_cost import read_cost
from chalicelib.workflow.warm_bastion import warm_bastion
from tests.factories import (
    ALICE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    REQUEST_ID,
    a_catalogue,
    a_glass_rule,
    a_grant,
    a_location,
    a_request,
    a_rule,
    an_ended_request,
    minutes,
)
from tests.fakes import World
from tests.strategies import RULE

MONTH_START = datetime.fromisoformat("2026-11-01T00:00:00+00:00")


def a_use(start: float, end: float, *, number: int = 1, bastion: str = "main") -> Use:
    """A use between these minutes around noon."""
    return Use(
        request_id=f"R-NUMBR{number}",
        person_id=ALICE.person_id,
        location="orders-prod",
        bastion=bastion,
        start=FRIDAY_NOON + minutes(start),
        end=FRIDAY_NOON + minutes(end),
    )


def reckon(*uses: Use, now: float = 1000, budget: float | None = None, **changes: int) -> CostReport:
    given_ = {"requests": 0, "idle_grace_seconds": 0, "disk_seconds": 0} | changes
    return reckon_month(uses, budget_dollars=budget, now=FRIDAY_NOON + minutes(now), **given_)


def shares(report: CostReport) -> dict[str, int]:
    """Each grant's seconds of a bastion, by the last figure of its id."""
    return {cost.request_id[-1]: cost.bastion_seconds for cost in report.grants}


class TestSharing:
    def test_whoever_is_alone_pays_alone(self) -> None:
        """And for the grace time after."""
        assert {"1": 3600} == shares(reckon(a_use(0, 50), idle_grace_seconds=600))

    def test_those_who_overlap_share_the_time_equally(self) -> None:
        """An hour alone, an hour together, an hour alone."""
        report = reckon(a_use(0, 120, number=1), a_use(60, 180, number=2))

        assert {"1": 5400, "2": 5400} == shares(report)
        assert pytest.approx(3 * BASTION_HOUR) == dict(report.parts)["bastions"]

    def test_bastions_are_not_shared_with_each_other(self) -> None:
        """Two of them run at once."""
        report = reckon(a_use(0, 60, number=1), a_use(0, 60, number=2, bastion="other"))

        assert {"1": 3600, "2": 3600} == shares(report)

    def test_only_this_month_up_to_now_is_reckoned(self) -> None:
        """What lies before it, or still ahead, costs nothing yet."""
        month_start = (MONTH_START - FRIDAY_NOON).total_seconds() / 60
        report = reckon(
            a_use(month_start - 60, month_start + 60), a_use(0, 99, number=2), now=9, idle_grace_seconds=600
        )

        assert {"1": 3600 + 600, "2": 540} == shares(report)
        assert ("2026-11", 0) == (report.month, len(reckon(a_use(month_start - 90, month_start - 10)).grants))

    @pytest.mark.parametrize(
        ("text", "month"),
        [("2026-12-01T00:00:00+00:00", "2026-12"), ("2026-12-01T00:59:00+01:00", "2026-11")],
    )
    def test_a_month_is_one_of_utc(self, text: str, month: str) -> None:
        """Whatever zone the clock is in."""
        assert month == month_of(datetime.fromisoformat(text))


uses = st.lists(
    st.builds(
        lambda start, length, number, bastion: a_use(start, start + length, number=number, bastion=bastion),
        st.integers(-30_000, 900),
        st.integers(0, 3000),
        st.integers(1, 9),
        st.sampled_from(["main", "other"]),
    ),
    max_size=6,
    unique_by=lambda use: use.request_id,
)


@RULE
@given(uses, st.integers(0, 900), st.integers(0, 900), st.integers(0, 50))
def test_costs_are_never_negative_and_only_grow(found: list[Use], now: int, later: int, requests: int) -> None:
    """By the minute, within a month."""
    before, after = (
        reckon(*found, now=at, requests=requests, idle_grace_seconds=600, disk_seconds=86_400)
        for at in (now, now + later)
    )

    assert all(0 <= dollars for report in (before, after) for _, dollars in report.parts)
    assert all(cost.bastion_seconds >= 0 for cost in before.grants)
    assert all(one[1] <= other[1] + 1e-9 for one, other in zip(before.parts, after.parts, strict=True))
    assert before.dollars <= after.dollars + 1e-9


@RULE
@given(uses, st.integers(0, 900))
def test_what_grants_pay_is_what_bastions_cost(found: list[Use], now: int) -> None:
    """Nothing is paid twice, and nobody pays for more than the time in which a bastion ran."""
    report = reckon(*found, now=now, requests=len(found), idle_grace_seconds=600)
    paid = sum(cost.dollars - REQUEST for cost in report.grants)

    assert pytest.approx(dict(report.parts)["bastions"], abs=1e-9) == paid
    assert pytest.approx(report.dollars) == sum(dollars for _, dollars in report.parts)


class TestReading:
    def test_a_grant_that_ended_but_still_stands_is_reckoned_once(self) -> None:
        """Its end was reported; its revocation goes on."""
        world = World()
        world.declare_grant(state=GrantState.ENDING)
        world.requests.close_request(an_ended_request(granted_at=FRIDAY_NOON, bastion="main"))
        world.clock.advance(3600)
        report = world.run(read_cost)

        assert [(REQUEST_ID, 3600)] == [(cost.request_id, cost.bastion_seconds) for cost in report.grants]
        assert pytest.approx(REQUEST) == dict(report.parts)["requests"]

    def test_what_was_never_granted_used_no_bastion(self) -> None:
        """But it was a request."""
        world = World()
        world.declare_request()
        world.requests.close_request(an_ended_request())
        report = world.run(read_cost)

        assert ((), pytest.approx(REQUEST)) == (report.grants, dict(report.parts)["requests"])

    def test_a_disk_that_the_month_before_left_behind_is_paid_for(self) -> None:
        """Its last use ended an hour before the month; the request itself was last month's."""
        world = World()
        world.clock.now = MONTH_START + timedelta(hours=2)
        world.declare_request()
        start, end = MONTH_START - timedelta(hours=3), MONTH_START - timedelta(hours=1)
        world.requests.close_request(an_ended_request(granted_at=start, ended_at=end, bastion="main"))
        parts = dict(world.run(read_cost).parts)

        assert (0, 0) == (parts["requests"], parts["bastions"])
        assert parts["their disks"] > 0


def spending(share: float, **levels: object) -> World:
    """A world in which this share of the month's budget is spent."""
    rules = {READ: a_rule(automatic=True, approvers=frozenset()), OPERATE: a_glass_rule()} | levels
    catalogue = a_catalogue(a_location(levels=rules))
    spent = World(catalogue=catalogue).run(read_cost).dollars
    return World(catalogue=replace(catalogue, budget_dollars=spent / share))


class TestBudget:
    @pytest.mark.parametrize(("share", "is_warmed"), [(0.79, True), (0.81, False), (1.5, False)])
    def test_from_four_fifths_on_nothing_is_warmed_up(self, share: float, is_warmed: bool) -> None:
        """People wait for the bastion instead."""
        world = spending(share)
        world.declare_request()

        assert is_warmed == world.run(warm_bastion, request_id=REQUEST_ID)
        assert is_warmed == bool(world.host.calls)

    @pytest.mark.parametrize(("share", "answer"), [(0.99, PolicyAnswer.ALLOWED), (1.01, PolicyAnswer.DENIED)])
    def test_beyond_it_nothing_is_given_that_nobody_approves(self, share: float, answer: PolicyAnswer) -> None:
        """The endpoint and the workflow say the same, and why."""
        world = spending(share)
        world.declare_request(level=READ)
        outcome = world.run(check_policy, request_id=REQUEST_ID)
        asked = ask(spending(share), READ)

        assert answer is outcome.answer
        assert (answer is PolicyAnswer.ALLOWED) == isinstance(asked, Asked)
        assert answer is PolicyAnswer.ALLOWED or "This month's budget of $" in outcome.reason

    def test_approvals_and_emergencies_are_not_touched(self) -> None:
        """People have looked at these, or will."""
        approved, at_once = (
            ask(spending(9), OPERATE, is_break_glass=is_break_glass) for is_break_glass in (False, True)
        )

        assert isinstance(approved, Asked)
        assert isinstance(at_once, Asked)
        assert (PolicyAnswer.NEEDS_APPROVAL, PolicyAnswer.ALLOWED) == (approved.policy.answer, at_once.policy.answer)

    def test_automatic_access_is_not_extended_either(self) -> None:
        """More time is more access."""
        world = spending(9)
        request = a_request(level=READ)
        world.requests.declare_request(request)
        world.grants.declare_grant(a_grant(request, delivered_at=FRIDAY_NOON))
        outcome = world.run(ask_extension, request_id=REQUEST_ID, seconds=600, person=ALICE, origin_id="trigger-2")

        assert isinstance(outcome, Refusal)
        assert "budget" in outcome.reason

    def test_without_a_budget_nothing_is_stopped(self) -> None:
        """Nor reckoned."""
        catalogue: Catalogue = a_catalogue()
        report = World(catalogue=catalogue).run(read_cost)

        assert (None, True, True) == (report.budget_dollars, report.allows_warm_ups, report.allows_automatic)


def ask(world: World, level: PermissionLevel, *, is_break_glass: bool = False) -> object:
    asked = Ask(location="orders-prod", level=level, duration_seconds=600, reason="fire", is_break_glass=is_break_glass)
    return world.run(file_request, person=ALICE, ask=asked, origin_id="trigger-1")
