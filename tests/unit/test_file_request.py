"""A person asks: judged, recorded once, and its execution started."""

from dataclasses import replace

import pytest

from chalicelib.domain.command_texts import parse_command
from chalicelib.domain.decisions import Refusal, Terms, Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import UnknownLocationError
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.domain.grants import GrantState
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.requests import Ask
from chalicelib.workflow.file_request import file_request
from tests.factories import (
    ALICE,
    DAVE,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITE,
    a_catalogue,
    a_decision,
    a_glass_rule,
    a_grant,
    a_location,
    a_record,
    a_rule,
    a_task_token,
)
from tests.fakes import World


def ask(
    world: World, text: str = "orders-prod", *, person: Person | None = ALICE, origin_id: str = "trigger-1"
) -> Asked | AlreadyHeld | AlreadyAsked | Refusal:
    """File what a command asks for."""
    read = parse_command(text)
    assert isinstance(read, Ask)
    return world.run(file_request, person=person, ask=read, origin_id=origin_id)


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


class TestRemembering:
    def test_the_last_port_and_profile_are_used_again(self) -> None:
        """Until others are given."""
        world = World()
        first = asked(world, "orders-prod r --port 50000 --profile dev").request
        second = asked(world, "orders-prod w", origin_id="trigger-2").request
        third = asked(world, "orders-prod o --port 50001", origin_id="trigger-3").request

        assert [(50000, "dev"), (50000, "dev"), (50001, "dev")] == [
            (request.port, request.profile) for request in (first, second, third)
        ]
        assert Preferences(port=50001, profile="dev") == world.requests.find_preferences(ALICE.person_id)

    def test_what_is_refused_is_not_remembered(self) -> None:
        """Nothing was asked."""
        world = World()
        ask(world, "orders-prod 9h --port 50000")

        assert Preferences() == world.requests.find_preferences(ALICE.person_id)


class TestBreakingTheGlass:
    @pytest.mark.parametrize("reason", ["", "   "])
    def test_it_needs_a_reason(self, reason: str) -> None:
        """Somebody will ask for it afterwards."""
        world = World(catalogue=a_catalogue(a_location(levels={OPERATE: a_glass_rule()})))
        wanted = Ask(location="orders-prod", level=OPERATE, duration_seconds=60, reason=reason, is_break_glass=True)
        outcome = world.run(file_request, person=ALICE, ask=wanted, origin_id="trigger-1")

        assert isinstance(outcome, Refusal)
        assert "needs a reason" in outcome.reason
        assert {} == world.executions.started

    def test_with_one_it_is_allowed_at_once(self) -> None:
        """And the request says how it was taken."""
        world = World(catalogue=a_catalogue(a_location(levels={OPERATE: a_glass_rule()})))
        outcome = asked(world, "orders-prod o 10m --break-glass --reason orders are stuck")

        assert (True, PolicyAnswer.ALLOWED) == (outcome.request.is_break_glass, outcome.policy.answer)


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("orders-prod --env test", "orders-prod is prod, not test."),
            ("orders-prod --region eu-west-2", "orders-prod lies in eu-west-1, not eu-west-2."),
        ],
    )
    def test_a_wrong_environment_or_region_is_refused_with_the_right_one(self, text: str, reason: str) -> None:
        """Naming one checks what is meant and never chooses another database."""
        outcome = ask(World(), text)

        assert isinstance(outcome, Refusal)
        assert reason in outcome.reason

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

    def test_a_location_that_nobody_knows_is_an_error_with_advice(self) -> None:
        """The nearest name, and all."""
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

    def test_access_that_was_approved_as_reading_is_shown_to_whoever_asks_to_write_again(self) -> None:
        """Under the level that was approved."""
        world = World()
        request = asked(world, "orders-prod w").request
        as_read = a_decision(terms=Terms(level=READ, duration_seconds=600))
        record = a_record(request_id=request.request_id, decisions=(as_read,), verdict=Verdict.APPROVED)
        world.requests.open_decision(record, task_token=a_task_token("token-1"))
        held = world.grants.declare_grant(a_grant(replace(request, level=READ), delivered_at=FRIDAY_NOON))

        assert ask(world, "orders-prod w", origin_id="trigger-2") == AlreadyHeld(grant=held)

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
        first = asked(world).request
        world.requests.close_request(EndedRequest(request=first, outcome=Outcome.FINISHED, ended_at=FRIDAY_NOON))

        assert first.request_id != asked(world, origin_id="trigger-2").request.request_id
