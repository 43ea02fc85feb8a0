"""What a person sees: exactly what they may decide and review, their own, and what they may ask for."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.decisions import DecisionRecord, Terms, Verdict
from chalicelib.domain.grants import GrantState
from chalicelib.domain.locations import LevelRule
from chalicelib.domain.overviews import Overview, ToDecide
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.workflow.read_overview import read_overview
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.record_review import record_review
from chalicelib.workflow.refresh_homes import refresh_homes
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    REQUEST_ID,
    WRITE,
    a_catalogue,
    a_decision,
    a_glass_rule,
    a_grant,
    a_location,
    a_person,
    a_record,
    a_request,
    a_review,
    a_rule,
    a_task_token,
    an_ended_request,
    minutes,
)
from tests.fakes import FakeRequestLedger, World
from tests.strategies import RULE, level_rules, levels

PEOPLE = (ALICE, BOB, CAROL, DAVE, a_person("erin"))


def overview(world: World, person: Person = ALICE) -> Overview:
    return world.run(read_overview, person=person)


def ids(records: Iterable[RequestRecord | ToDecide]) -> list[str]:
    return [(each.record if isinstance(each, ToDecide) else each).request.request_id for each in records]


@RULE
@given(
    rule=level_rules(),
    asked_by=st.sampled_from(PEOPLE),
    yes=st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True),
    verdict=st.sampled_from([Verdict.OPEN, Verdict.OPEN, *Verdict]),
    late=st.sampled_from([0, 59, 60]),
    has_ended=st.booleans(),
    person=st.sampled_from(PEOPLE),
)
def test_what_waits_for_a_person_is_what_they_could_decide(
    rule: LevelRule,
    asked_by: Person,
    yes: list[Person],
    verdict: Verdict,
    late: int,
    has_ended: bool,
    person: Person,
) -> None:
    """By the very judgement that their click would meet."""
    world = World(catalogue=a_catalogue(a_location(levels={OPERATE: rule}), people=PEOPLE))
    request = a_request(person=asked_by)
    world.requests.declare_request(request)
    world.requests.open_decision(a_record(*yes, needed=3, verdict=verdict), task_token=a_task_token("token-1"))
    if has_ended:
        world.requests.close_request(an_ended_request(request))
    world.clock.advance(late * 60)
    shown = ids(overview(world, person).to_decide)
    outcome = world.run(record_decision, request_id=REQUEST_ID, person=person, approves=True)

    assert ([REQUEST_ID] if isinstance(outcome, DecisionRecord) else []) == shown


@RULE
@given(
    approvers=st.frozensets(st.sampled_from(["alice", "bob", "carol"])),
    person=st.sampled_from(PEOPLE),
    taken_by=st.sampled_from(PEOPLE),
)
def test_what_waits_for_a_review_is_what_they_could_review(
    approvers: frozenset[str], person: Person, taken_by: Person
) -> None:
    """Never one's own."""
    rules = {OPERATE: a_glass_rule(approvers=approvers)}
    world = World(catalogue=a_catalogue(a_location(levels=rules), people=PEOPLE))
    world.declare_request(person=taken_by, is_break_glass=True)
    world.requests.open_review(a_review())
    shown = ids(overview(world, person).to_review)
    outcome = world.run(record_review, request_id=REQUEST_ID, person=person, is_justified=True, note="")

    assert ([REQUEST_ID] if isinstance(outcome, ReviewRecord) else []) == shown
    assert person != taken_by or not shown


def test_ones_own_are_shown_as_asked_until_they_can_be_used() -> None:
    """Delivered and live: held; before that and while it ends: asked; ended: neither."""
    world = World()
    requests = {
        level: a_request(level=level, request_id=f"R-{name}") for level, name in ((READ, "HELD22"), (WRITE, "WAITS2"))
    }
    ending = a_request(location="orders-test", request_id="R-ENDNG2")
    for request in (*requests.values(), ending):
        world.requests.declare_request(request)
    live = world.grants.declare_grant(a_grant(requests[READ], delivered_at=FRIDAY_NOON))
    world.grants.declare_grant(a_grant(requests[WRITE]))
    world.grants.declare_grant(a_grant(ending, delivered_at=FRIDAY_NOON, state=GrantState.ENDING))
    seen = overview(world)

    assert (["R-HELD22"], live) == (ids(each.record for each in seen.held), seen.held[0].grant)
    assert {"R-WAITS2", "R-ENDNG2"} == set(ids(seen.asked))
    assert ([], []) == (ids(overview(world, BOB).asked), list(overview(world, BOB).held))


def test_access_that_was_approved_as_reading_is_held_as_reading() -> None:
    """Alice asked to write."""
    world = World()
    request = a_request(level=WRITE)
    world.requests.declare_request(request)
    as_read = a_decision(BOB, terms=Terms(level=READ, duration_seconds=600))
    world.requests.open_decision(
        a_record(decisions=(as_read,), verdict=Verdict.APPROVED), task_token=a_task_token("token-1")
    )
    world.grants.declare_grant(a_grant(replace(request, level=READ), delivered_at=FRIDAY_NOON))

    assert [READ] == [each.grant.facts.level for each in overview(world).held]


@RULE
@given(rule=level_rules(), level=levels, person=st.sampled_from(PEOPLE))
def test_what_is_offered_is_what_the_rules_let_the_person_ask_for(
    rule: LevelRule, level: PermissionLevel, person: Person
) -> None:
    """With policy's answer of today; locations without any such level are left out."""
    world = World(catalogue=a_catalogue(a_location(levels={level: rule}), people=PEOPLE))
    offers = overview(world, person).offers

    assert ([[level]] if rule.admits(person.name) else []) == [list(offer.levels) for offer in offers]


def test_the_last_ends_are_shown_newest_first() -> None:
    """Five of them."""
    world = World()
    for number in range(7):
        request = a_request(request_id=f"R-NUMBR{number}")
        world.requests.declare_request(request)
        world.requests.close_request(an_ended_request(request, ended_at=FRIDAY_NOON + minutes(number)))

    assert [f"R-NUMBR{number}" for number in (6, 5, 4, 3, 2)] == [
        each.request.request_id for each in overview(world).ended
    ]


def test_a_location_that_left_the_catalogue_spoils_no_home() -> None:
    """What waits there cannot be decided; the rest is shown."""
    world = World(catalogue=a_catalogue(a_location("orders-new", levels={OPERATE: a_rule()})))
    world.declare_request(is_break_glass=True)
    world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
    world.requests.open_review(a_review())
    seen = overview(world, BOB)

    assert ((), (), 1) == (seen.to_decide, seen.to_review, len(seen.offers))


def test_requests_are_read_together_however_many_wait() -> None:
    """Slack waits three seconds; one question for each of everybody's requests would use them up."""
    world, questions = World(), list[str]()
    for request_id, person in (("R-NUMBR2", ALICE), ("R-NUMBR3", BOB), ("R-NUMBR4", CAROL)):
        world.declare_request(request_id=request_id, person=person, level=OPERATE)
        world.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token"))
    for method in ("find_request", "find_requests"):
        world.requests.declare_meanwhile(method, lambda asked=method: questions.append(asked), times=9)
    overview(world, BOB)

    assert ["find_requests"] == questions


class AskedLedger(FakeRequestLedger):
    """Counts how often somebody asked it what waits."""

    times = 0

    def requests_to_decide(self) -> Sequence[str]:
        self.times += 1
        return super().requests_to_decide()

    def requests_to_review(self) -> Sequence[str]:
        self.times += 1
        return super().requests_to_review()


@pytest.mark.parametrize(("person", "times"), [(ALICE, 0), (BOB, 2)], ids=["asks", "decides"])
def test_what_waits_for_others_is_not_read_for_whoever_decides_nothing(person: Person, times: int) -> None:
    """Of a crowd, each would read all that waits, at each turn of their own request."""
    asked = AskedLedger()
    overview(World(requests=asked), person)

    assert times == asked.times


class TestRefreshing:
    def test_the_requester_and_whoever_may_decide_see_it_at_once(self) -> None:
        """And nobody else."""
        world = World(catalogue=a_catalogue(people=PEOPLE))
        world.declare_request()
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
        world.run(refresh_homes, request_id=REQUEST_ID, is_for_others=True)

        assert {"alice", "bob", "carol"} == set(world.homes.published)
        assert [REQUEST_ID] == ids(world.homes.published["bob"].to_decide)
        assert [REQUEST_ID] == ids(world.homes.published["alice"].asked)

    def test_what_changes_for_its_requester_alone_is_published_for_nobody_else(self) -> None:
        """That access is there, or has ended, says no other Home."""
        world = World(catalogue=a_catalogue(people=PEOPLE))
        world.declare_request()
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
        world.run(refresh_homes, request_id=REQUEST_ID, is_for_others=False)

        assert {"alice"} == set(world.homes.published)

    def test_a_slow_slack_is_left_alone_after_seconds(self) -> None:
        """The function has done what it is for, and must not be killed over a Home."""
        approvers = [a_person(f"p{number:02}") for number in range(20)]
        rules = {WRITE: a_rule(approvers=frozenset(person.name for person in approvers))}
        location = a_location(levels=rules)
        world = World(catalogue=a_catalogue(location, people=(ALICE, *approvers)))
        world.declare_request(level=WRITE)
        world.homes.declare_slow(lambda: world.clock.advance(2))
        world.run(refresh_homes, request_id=REQUEST_ID, is_for_others=True)

        assert {"alice", "p00", "p01"} == set(world.homes.published)

    def test_a_location_that_left_the_catalogue_concerns_its_requester_alone(self) -> None:
        """Nobody knows its approvers."""
        world = World()
        world.declare_request(location="orders-old")
        world.run(refresh_homes, request_id=REQUEST_ID, is_for_others=True)

        assert {"alice"} == set(world.homes.published)
