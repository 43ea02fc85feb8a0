"""A holder asks for more time: a request of its own, judged by the same policy."""

import pytest

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.filings import AlreadyAsked, Asked
from chalicelib.domain.grants import GrantState, delivered
from chalicelib.domain.locations import Hours
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.requests import Ask
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.ask_extension import ask_extension
from chalicelib.workflow.file_request import file_request
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    OPERATE,
    REQUEST_ID,
    WRITER,
    a_catalogue,
    a_grant,
    a_location,
    a_request,
    a_rule,
    an_ended_request,
    seconds,
)
from tests.fakes import World


def held(**rule: object) -> World:
    """Alice operates from noon to half past twelve."""
    world = World(catalogue=a_catalogue(a_location(levels={OPERATE: a_rule(**rule)})))
    world.declare_grant()
    world.grants.declare_grant(delivered(a_grant(), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON))
    return world


def ask(
    world: World, more_seconds: int = 1800, *, person: Person | None = ALICE, origin_id: str = "trigger-2"
) -> Asked | AlreadyAsked | Refusal:
    return world.run(ask_extension, request_id=REQUEST_ID, seconds=more_seconds, person=person, origin_id=origin_id)


def reason_of(outcome: object) -> str:
    assert isinstance(outcome, Refusal)
    return outcome.reason


@pytest.mark.parametrize(
    ("rule", "answer"),
    [({}, PolicyAnswer.NEEDS_APPROVAL), ({"automatic": True}, PolicyAnswer.ALLOWED)],
)
def test_an_extension_is_a_request_of_its_own(rule: dict[str, object], answer: PolicyAnswer) -> None:
    """With an execution that makes no grant; whether others must agree is policy's to say."""
    world = held(**rule)
    outcome = ask(world)

    assert isinstance(outcome, Asked)
    request = outcome.request
    assert (answer, REQUEST_ID, OPERATE, 1800, ALICE) == (
        outcome.policy.answer,
        request.extends,
        request.level,
        request.duration_seconds,
        request.person,
    )
    assert {request.request_id: "extend"} == {
        name: document["purpose"] for name, document in world.executions.started.items()
    }


def test_a_repeated_delivery_files_nothing_more() -> None:
    """Slack delivers at least once."""
    world = held()

    assert ask(world) == ask(world)
    assert 1 == len(world.executions.started)


def test_there_is_one_extension_at_a_time() -> None:
    """The second click is shown the first."""
    world = held()
    first = ask(world)
    second = ask(world, origin_id="trigger-3")

    assert isinstance(first, Asked)
    assert AlreadyAsked(request_ids=(first.request.request_id,), is_same_ask=True) == second


def test_whoever_holds_as_much_as_they_may_can_still_extend_it() -> None:
    """The limit is for access, not for its length."""
    locations = [a_location(name, levels={OPERATE: a_rule(automatic=True)}) for name in ("aa", "bb", "cc")]
    world = World(catalogue=a_catalogue(*locations))
    for name in ("aa", "bb", "cc"):
        wanted = Ask(location=name, level=OPERATE, duration_seconds=600, reason="")
        asked = world.run(file_request, person=ALICE, ask=wanted, origin_id=name)
        assert isinstance(asked, Asked)
        grant = a_grant(asked.request, location=world.catalogue.locations[name])
        world.grants.declare_grant(delivered(grant, instance_id="i-1", writer=WRITER, now=FRIDAY_NOON))
    held_ids = list(world.executions.started)
    for request_id in held_ids:
        more = world.run(
            ask_extension, request_id=request_id, seconds=600, person=ALICE, origin_id=f"more {request_id}"
        )
        assert isinstance(more, Asked)

    assert 6 == len(world.executions.started)


@pytest.mark.parametrize("person", [BOB, None])
def test_nobody_else_extends_it(person: Person | None) -> None:
    """Not even an approver."""
    assert "R-ABC234 is not yours to extend." == reason_of(ask(held(), person=person))


@pytest.mark.parametrize(
    ("rule", "more_seconds", "reason"),
    [
        ({"cap_seconds": 3600}, 1801, "at most 30 minutes more: 1 hour in all"),
        ({"cap_seconds": 1800}, 60, "has reached the most there is"),
        ({}, 0, "at least a second"),
        ({}, -1800, "at least a second"),
        ({"hours": Hours.parse("Sat-Sun 00:00-23:59 UTC")}, 600, "is given Sat-Sun"),
        ({"who": frozenset({"bob"})}, 600, "You may not ask for"),
    ],
)
def test_what_may_not_be_is_said_before_anything_is_filed(
    rule: dict[str, object], more_seconds: int, reason: str
) -> None:
    """By the rule of now."""
    world = held(**rule)

    assert reason in reason_of(ask(world, more_seconds))
    assert {} == world.executions.started


def test_access_that_is_over_is_not_extended() -> None:
    """Whether it ended, is ending, was asked to end or is another's by now."""
    worlds = [held() for _ in range(5)]
    worlds[0].requests.close_request(an_ended_request())
    worlds[1].grants.declare_grant(a_grant(state=GrantState.ENDING))
    worlds[2].run(ask_end, request_id=REQUEST_ID, person=ALICE)
    worlds[3].grants.declare_grant(a_grant(a_request(request_id="R-NEXT22")))
    worlds[4].clock.now = FRIDAY_NOON + seconds(1800)

    assert all("has ended. Ask again for new access." in reason_of(ask(world)) for world in worlds)


def test_access_that_is_not_ready_is_not_extended() -> None:
    """Its time has not begun."""
    world = held()
    world.grants.declare_grant(a_grant())

    assert "is not ready yet" in reason_of(ask(world))
