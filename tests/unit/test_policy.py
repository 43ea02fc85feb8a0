"""What policy says of a request, and that it never says more than its rules."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.locations import BreakGlass, Hours, LevelRule
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome, decide_policy
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITE,
    a_catalogue,
    a_location,
    a_person,
    a_rule,
)
from tests.strategies import RULE, level_rules, levels, names

PEOPLE = tuple(a_person(name) for name in ("alice", "bob", "carol", "dave", "erin"))
RANK = {PolicyAnswer.DENIED: 0, PolicyAnswer.NEEDS_APPROVAL: 1, PolicyAnswer.ALLOWED: 2}
WEEKEND = Hours.parse("Sat-Sun 00:00-23:59 UTC")


def judge(
    rule: LevelRule | None = None,
    *,
    is_break_glass: bool = False,
    person: Person = ALICE,
    level: PermissionLevel = OPERATE,
    duration_seconds: int = 1800,
    people: tuple[Person, ...] = (ALICE, BOB, CAROL),
    now: datetime = FRIDAY_NOON,
) -> PolicyOutcome:
    """Judge an ask by one rule for one level."""
    location = a_location(levels={OPERATE: rule or a_rule()})
    return decide_policy(
        person=person,
        location=location,
        level=level,
        duration_seconds=duration_seconds,
        catalogue=a_catalogue(location, people=people),
        now=now,
        is_break_glass=is_break_glass,
    )


def test_an_automatic_level_is_allowed_at_once() -> None:
    """Nobody has to agree."""
    assert judge(a_rule(automatic=True)).answer is PolicyAnswer.ALLOWED


def test_any_other_level_needs_as_many_approvers_as_its_rule_says() -> None:
    """And the outcome says who they are, so that they can be asked."""
    outcome = judge(a_rule(needed=2))

    assert (PolicyAnswer.NEEDS_APPROVAL, frozenset({BOB, CAROL}), 2) == (
        outcome.answer,
        outcome.approvers,
        outcome.needed,
    )
    assert "operate access to orders-prod needs 2 approval(s)" == outcome.reason


def test_a_requester_who_is_also_an_approver_is_not_asked() -> None:
    """Bob needs carol."""
    assert frozenset({CAROL}) == judge(person=BOB).approvers


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (judge(person=DAVE), "You are not listed in Drawbridge's catalogue."),
        (judge(person=replace(BOB, slack="U0MALLORY")), "You are not listed"),
        (judge(person=replace(ALICE, team="T0OTHER")), "You are not listed"),
        (judge(level=WRITE), "orders-prod offers operate (o), not write (w). Ask for one of those instead."),
        (judge(a_rule(who=frozenset({"bob"}))), "You may not ask for operate access to orders-prod."),
        (judge(duration_seconds=4 * 3600 + 1), "4 hours 1 second is too long: 4 hours is the most"),
        (judge(duration_seconds=0), "at least a second"),
        (judge(duration_seconds=-5), "at least a second"),
        (judge(a_rule(hours=WEEKEND)), "Operate access to orders-prod is given Sat-Sun 00:00-23:59 UTC only."),
        (judge(a_rule(hours=WEEKEND, automatic=True)), "is given Sat-Sun"),
        (judge(a_rule(automatic=True), duration_seconds=5 * 3600), "is too long"),
        (judge(a_rule(needed=2), person=BOB), "needs 2 approver(s) other than yourself and the catalogue lists 1"),
        (judge(a_rule(needed=3)), "Nobody can approve this"),
    ],
)
def test_a_denial_says_which_rule_denies(outcome: PolicyOutcome, reason: str) -> None:
    """And names nobody who could be pressed to approve."""
    assert outcome.answer is PolicyAnswer.DENIED
    assert reason in outcome.reason
    assert (frozenset(), 0) == (outcome.approvers, outcome.needed)


def test_the_cap_itself_may_be_asked_for() -> None:
    """The most is allowed; only more is not."""
    assert judge(duration_seconds=4 * 3600).answer is PolicyAnswer.NEEDS_APPROVAL


def test_another_levels_rule_counts_for_nothing() -> None:
    """Reading being automatic says nothing about writing."""
    location = a_location(levels={READ: a_rule(automatic=True), WRITE: a_rule()})
    catalogue = a_catalogue(location)

    answers = [
        decide_policy(
            person=ALICE, location=location, level=level, duration_seconds=60, catalogue=catalogue, now=FRIDAY_NOON
        ).answer
        for level in (READ, WRITE, OPERATE)
    ]

    assert [PolicyAnswer.ALLOWED, PolicyAnswer.NEEDS_APPROVAL, PolicyAnswer.DENIED] == answers


durations = st.integers(-10, 10 * 3600)


@RULE
@given(rule=level_rules(), person=st.sampled_from(PEOPLE), level=levels, seconds=durations)
def test_nobody_unlisted_is_ever_let_in(rule: LevelRule, person: Person, level: PermissionLevel, seconds: int) -> None:
    """Whatever the rules say: neither a stranger, nor a stranger under a listed name."""
    others = tuple(listed for listed in PEOPLE if listed != person)
    impostor = replace(person, slack="U0IMPOSTOR")

    for catalogue_people in (others, (*others, impostor)):
        outcome = judge(rule, person=person, level=level, duration_seconds=seconds, people=catalogue_people)
        assert outcome.answer is PolicyAnswer.DENIED


@RULE
@given(rule=level_rules(), person=st.sampled_from(PEOPLE), seconds=durations)
def test_the_requester_is_never_among_the_approvers(rule: LevelRule, person: Person, seconds: int) -> None:
    """And those who are asked are always enough, and approvers by the rule."""
    outcome = judge(rule, person=person, duration_seconds=seconds, people=PEOPLE)

    assert person not in outcome.approvers
    assert outcome.needed <= len(outcome.approvers)
    assert {approver.name for approver in outcome.approvers} <= rule.approvers
    assert (outcome.answer is PolicyAnswer.NEEDS_APPROVAL) == (outcome.needed > 0)


@RULE
@given(rule=level_rules(), tighter=level_rules(), person=st.sampled_from(PEOPLE), seconds=durations)
def test_tightening_a_rule_never_lets_anybody_further_in(
    rule: LevelRule, tighter: LevelRule, person: Person, seconds: int
) -> None:
    """Fewer askers, a lower cap, fewer approvers, more of them needed, hours, no automatism: each can only deny more."""
    before = judge(rule, person=person, duration_seconds=seconds, people=PEOPLE)
    after = [
        judge(tightened, person=person, duration_seconds=seconds, people=PEOPLE)
        for tightened in (
            replace(rule, who=frozenset(name for name in tighter.who if rule.admits(name))),
            replace(rule, cap_seconds=min(rule.cap_seconds, tighter.cap_seconds)),
            replace(rule, approvers=rule.approvers & tighter.approvers),
            replace(rule, needed=max(rule.needed, tighter.needed)),
            replace(rule, hours=WEEKEND),
            replace(rule, automatic=False),
        )
    ]

    assert all(RANK[outcome.answer] <= RANK[before.answer] for outcome in after)
    assert all(outcome.approvers <= before.approvers for outcome in after[:-1])
    assert all(outcome.needed >= before.needed for outcome in after if outcome.answer is PolicyAnswer.NEEDS_APPROVAL)


@RULE
@given(
    rule=level_rules(),
    tighter=level_rules(),
    glass=st.frozensets(names, max_size=3),
    fewer=st.frozensets(names, max_size=3),
    person=st.sampled_from(PEOPLE),
    seconds=durations,
)
def test_tightening_a_rule_never_breaks_more_glass(
    rule: LevelRule,
    tighter: LevelRule,
    glass: frozenset[str],
    fewer: frozenset[str],
    person: Person,
    seconds: int,
) -> None:
    """Nor does anything but taking somebody off a list, or a lower cap, break less: hours and approvals are passed over."""
    rule = replace(rule, break_glass=BreakGlass(who=glass, review_within_seconds=60))

    def answer(changed: LevelRule) -> PolicyAnswer:
        return judge(changed, person=person, duration_seconds=seconds, people=PEOPLE, is_break_glass=True).answer

    tightened = (
        replace(rule, who=frozenset(name for name in tighter.who if rule.admits(name))),
        replace(rule, cap_seconds=min(rule.cap_seconds, tighter.cap_seconds)),
        replace(rule, approvers=rule.approvers & tighter.approvers),
        replace(rule, break_glass=BreakGlass(who=glass & fewer, review_within_seconds=60)),
        replace(rule, break_glass=None),
    )
    assert all(RANK[answer(each)] <= RANK[answer(rule)] for each in tightened)
    assert {answer(rule)} == {
        answer(replace(rule, hours=WEEKEND)),
        answer(replace(rule, needed=9)),
        answer(replace(rule, automatic=not rule.automatic)),
    }
    assert answer(rule) is not PolicyAnswer.NEEDS_APPROVAL


@RULE
@given(rule=level_rules(), person=st.sampled_from(PEOPLE), seconds=durations)
def test_groups_add_deciders_and_take_nobody_in_by_themselves(rule: LevelRule, person: Person, seconds: int) -> None:
    """A rule with a group answers as without one, but that its group may be enough to approve."""
    without = judge(rule, person=person, duration_seconds=seconds, people=PEOPLE)
    with_group = judge(
        replace(rule, approver_groups=frozenset({"S0ADMINS"})), person=person, duration_seconds=seconds, people=PEOPLE
    )

    assert with_group.answer is without.answer or "Nobody can approve this" in without.reason
    assert with_group.answer is not PolicyAnswer.ALLOWED or without.answer is PolicyAnswer.ALLOWED
    assert person not in with_group.approvers


@RULE
@given(rule=level_rules(), person=st.sampled_from(PEOPLE), seconds=durations, more=st.sets(names))
def test_listing_more_people_changes_nothing_for_those_listed(
    rule: LevelRule, person: Person, seconds: int, more: set[str]
) -> None:
    """A new colleague who stands in no rule widens nobody's access."""
    newcomers = tuple(a_person(f"new{name}") for name in sorted(more))
    answers = [
        judge(rule, person=person, duration_seconds=seconds, people=people)
        for people in (PEOPLE, (*PEOPLE, *newcomers))
    ]

    assert answers[0] == answers[1]
