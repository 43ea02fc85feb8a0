"""A person asks: judged, recorded once, and its execution started."""

import pytest

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import InvalidCommandError, UnknownLocationError
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.grants import GrantState
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.workflow.file_request import file_request
from tests.factories import (
    ALICE,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITE,
    a_catalogue,
    a_grant,
    a_location,
    a_rule,
)
from tests.fakes import World


def ask(
    world: World, text: str = "orders-prod", *, person: Person | None = ALICE, origin_id: str = "trigger-1"
) -> Asked | AlreadyHeld | AlreadyAsked | Refusal:
    return world.run(file_request, person=person, text=text, origin_id=origin_id)


def asked(world: World, text: str = "orders-prod", *, origin_id: str = "trigger-1") -> Asked:
    """An ask that must stand."""
    outcome = ask(world, text, origin_id=origin_id)
    assert isinstance(outcome, Asked)
    return outcome


class TestAsking:
    def test_an_ask_is_recorded_and_its_execution_started(self) -> None:
        """Under the same name."""
        world = World()
        outcome = asked(world, "orders-prod w 2h fix the stuck order")

        request = outcome.request
        assert (ALICE, "orders-prod", WRITE, 7200, "fix the stuck order", FRIDAY_NOON) == (
            request.person,
            request.location,
            request.level,
            request.duration_seconds,
            request.reason,
            request.asked_at,
        )
        assert request == world.requests.require_request(request.request_id).request
        assert [request.request_id] == list(world.executions.started)
        assert ("grant", request.request_id) == tuple(
            world.executions.started[request.request_id][key] for key in ("purpose", "request_id")
        )
        assert outcome.policy.answer is PolicyAnswer.NEEDS_APPROVAL

    def test_without_level_and_duration_it_is_operate_for_an_hour(self) -> None:
        """The defaults."""
        request = asked(World()).request

        assert (OPERATE, 3600) == (request.level, request.duration_seconds)

    def test_the_default_duration_keeps_to_the_cap(self) -> None:
        """Nobody is denied for what they did not type."""
        world = World(catalogue=a_catalogue(a_location(levels={OPERATE: a_rule(cap_seconds=600)})))

        assert 600 == asked(world).request.duration_seconds

    def test_a_repeated_delivery_starts_nothing_more(self) -> None:
        """And is answered as the first."""
        world = World()

        assert asked(world) == asked(world)
        assert 1 == len(world.executions.started)

    def test_a_repeated_delivery_starts_what_the_first_could_not(self) -> None:
        """The first died between the ledger and the workflow."""
        world = World()
        request_id = asked(world).request.request_id
        world.executions.started.clear()
        asked(world)

        assert [request_id] == list(world.executions.started)


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "person", "reason"),
        [
            ("orders-prod", None, "You are not listed"),
            ("orders-prod", DAVE, "You are not listed"),
            ("orders-prod 5h", ALICE, "5 hours is too long: 4 hours is the most"),
        ],
    )
    def test_what_policy_denies_is_a_value_with_a_reason(self, text: str, person: Person | None, reason: str) -> None:
        """Nothing is recorded or started."""
        world = World()
        outcome = ask(world, text, person=person)

        assert isinstance(outcome, Refusal)
        assert reason in outcome.reason
        assert {} == world.executions.started

    def test_a_level_that_is_not_offered_is_refused(self) -> None:
        """With those that are."""
        world = World(catalogue=a_catalogue(a_location(levels={READ: a_rule()})))
        outcome = ask(world, "orders-prod w")

        assert isinstance(outcome, Refusal)
        assert "offers read (r), not write (w)" in outcome.reason

    def test_a_command_that_cannot_be_read_is_an_error_with_advice(self) -> None:
        """And so is a location that nobody knows."""
        with pytest.raises(InvalidCommandError, match="Which location"):
            ask(World(), "")
        with pytest.raises(UnknownLocationError, match="Did you mean 'orders-prod'"):
            ask(World(), "orders-prdo")

    def test_somebody_unlisted_learns_nothing_about_locations(self) -> None:
        """Not even whether a name exists."""
        assert isinstance(ask(World(), "no-such-location", person=None), Refusal)


class TestStandingInTheWay:
    def test_the_same_ask_again_is_answered_with_the_open_one(self) -> None:
        """It waits or is being prepared."""
        world = World()
        request_id = asked(world).request.request_id

        assert ask(world, origin_id="trigger-2") == AlreadyAsked(request_ids=(request_id,), is_same_ask=True)
        assert 1 == len(world.executions.started)

    def test_access_that_is_held_is_shown(self) -> None:
        """Nothing is extended."""
        world = World()
        request = asked(world).request
        held = world.grants.declare_grant(a_grant(request, delivered_at=FRIDAY_NOON))

        assert ask(world, origin_id="trigger-2") == AlreadyHeld(grant=held)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"delivered_at": FRIDAY_NOON, "state": GrantState.ENDING},
            {"delivered_at": FRIDAY_NOON, "state": GrantState.GONE},
        ],
        ids=["not delivered yet", "ending", "gone"],
    )
    def test_a_grant_that_cannot_be_used_is_not_held(self, changes: dict[str, object]) -> None:
        """The open request stands in the way until its books are closed."""
        world = World()
        request = asked(world).request
        world.grants.declare_grant(a_grant(request, **changes))

        assert isinstance(ask(world, origin_id="trigger-2"), AlreadyAsked)

    def test_too_many_open_requests_are_named(self) -> None:
        """Three per person."""
        locations = [a_location(name) for name in ("aa", "bb", "cc", "dd")]
        world = World(catalogue=a_catalogue(*locations))
        ids = [asked(world, name, origin_id=name).request.request_id for name in ("aa", "bb", "cc")]

        assert ask(world, "dd", origin_id="dd") == AlreadyAsked(request_ids=tuple(sorted(ids)), is_same_ask=False)

    def test_after_the_end_the_same_may_be_asked_again(self) -> None:
        """As a new request."""
        world = World()
        first = asked(world).request.request_id
        world.requests.close_request(first, Outcome.FINISHED, at=FRIDAY_NOON)

        assert first != asked(world, origin_id="trigger-2").request.request_id
