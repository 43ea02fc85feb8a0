"""ConfirmApproval: the only place where a grant is made."""

import pytest

from chalicelib.domain.decisions import DecisionRecord, Terms, Verdict
from chalicelib.domain.errors import GrantEndingError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.ask_end import ask_end
from chalicelib.workflow.confirm_approval import Confirmation, confirm_approval
from chalicelib.workflow.find_database_instances import find_database_instances
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    OPERATE,
    READ,
    REQUEST_ID,
    WRITE,
    a_catalogue,
    a_decision,
    a_grant,
    a_location,
    a_record,
    a_request,
    a_rule,
    a_task_token,
    an_ended_request,
)
from tests.fakes import World

APPROVED = a_record(BOB, verdict=Verdict.APPROVED)


def decided(record: DecisionRecord | None = APPROVED, **changes: object) -> World:
    """A request with what was decided on it."""
    world = World()
    world.declare_request(**changes)
    if record is not None:
        world.requests.open_decision(record, task_token=a_task_token("token-1"))
    return world


def confirm(world: World) -> Confirmation:
    return world.run(confirm_approval, request_id=REQUEST_ID)


def test_an_approved_request_gets_its_grant() -> None:
    """Live from now, with the latest end that it can have."""
    world = decided()

    assert Confirmation(is_confirmed=True) == confirm(world)
    assert a_grant() == world.grant()
    assert ["granted"] == world.audit.events(REQUEST_ID)


def test_an_automatic_request_gets_its_grant_without_a_decision() -> None:
    """Policy alone says so."""
    world = decided(None, level=READ)

    assert confirm(world).is_confirmed


@pytest.mark.parametrize(
    "record",
    [None, a_record(), a_record(BOB, verdict=Verdict.DENIED), a_record(verdict=Verdict.TIMED_OUT)],
    ids=["nothing", "open", "denied", "timed out"],
)
def test_what_was_not_approved_gets_none(record: DecisionRecord | None) -> None:
    """Whatever woke the workflow: its output carries no facts."""
    world = decided(record)

    assert not confirm(world).is_confirmed
    assert [] == world.grants.open_grants()
    assert ["refused"] == world.audit.events(REQUEST_ID)


def test_a_run_that_lands_after_the_end_gives_nothing() -> None:
    """Its execution was over while it still ran: nobody would end what it gave."""
    world = decided()
    world.requests.close_request(an_ended_request())

    assert Confirmation(is_confirmed=False, reason="The request is over.") == confirm(world)
    assert [] == world.grants.open_grants()


def test_an_approver_who_was_taken_off_the_catalogue_does_not_count() -> None:
    """Between the click and the grant."""
    world = decided()
    world.catalogue = a_catalogue(a_location(levels={OPERATE: a_rule(approvers=frozenset({"carol"}))}))

    confirmation = confirm(world)

    assert (False, []) == (confirmation.is_confirmed, world.grants.open_grants())
    assert "The catalogue has changed" in confirmation.reason


def test_a_requester_who_was_taken_off_the_catalogue_gets_nothing() -> None:
    """Approved or not."""
    world = decided()
    world.catalogue = a_catalogue(people=(BOB,))

    assert "You are not listed" in confirm(world).reason
    assert [] == world.grants.open_grants()


def test_a_forged_decision_of_the_requester_does_not_count() -> None:
    """Even if somebody could write it into the ledger."""
    world = decided(a_record(ALICE, verdict=Verdict.APPROVED))

    assert not confirm(world).is_confirmed


def test_confirming_again_finds_the_same_grant_and_moves_nothing() -> None:
    """A retry five minutes later does not make the end later."""
    world = decided()
    confirm(world)
    before = world.grant()
    world.clock.advance(300)

    assert confirm(world).is_confirmed
    assert before == world.grant()


def test_confirming_again_after_the_end_gives_nothing_back() -> None:
    """The grant stays gone."""
    world = decided()
    world.grants.declare_grant(a_grant(state=GrantState.GONE))
    confirm(world)

    assert a_grant(state=GrantState.GONE) == world.grant()


def test_a_person_who_holds_the_access_already_gets_no_second_grant() -> None:
    """And is told under which request; nothing of the first is touched."""
    world = decided()
    held = world.grants.declare_grant(a_grant(a_request(request_id="R-HELD22")))

    assert Confirmation(
        is_confirmed=False, reason="You hold this access already, by R-HELD22; nothing was extended."
    ) == confirm(world)
    assert held == world.grant()
    assert [] == world.audit.events(REQUEST_ID)


def test_a_request_waits_while_the_grant_before_it_is_being_taken_away() -> None:
    """The workflow tries again until it is gone."""
    world = decided()
    world.grants.declare_grant(a_grant(a_request(request_id="R-HELD22"), state=GrantState.ENDING))
    with pytest.raises(GrantEndingError):
        confirm(world)
    world.grants.declare_grant(a_grant(a_request(request_id="R-HELD22"), state=GrantState.GONE))

    assert confirm(world).is_confirmed
    assert REQUEST_ID == world.grant().facts.request_id


class TestApprovedAsLess:
    """Alice asked to write for half an hour; bob and carol agreed to reading for ten minutes."""

    record = a_record(
        decisions=(
            a_decision(BOB, terms=Terms(level=READ, duration_seconds=900)),
            a_decision(CAROL, terms=Terms(level=WRITE, duration_seconds=600)),
        ),
        needed=2,
        verdict=Verdict.APPROVED,
    )

    def test_the_grant_is_of_the_least_that_all_agreed_to(self) -> None:
        """Nothing of the level that was asked for is given."""
        world = decided(self.record, level=WRITE)

        assert confirm(world).is_confirmed
        (grant,) = world.grants.open_grants()
        assert (READ, 600) == (grant.facts.level, grant.duration_seconds)

    def test_the_database_is_ordered_to_give_just_that(self) -> None:
        """The steps that follow find the grant under the level that was approved."""
        world = decided(self.record, level=WRITE)
        confirm(world)
        order = world.run(find_database_instances, request_id=REQUEST_ID, for_provisioning=True)

        assert order.facts is not None
        assert (True, READ) == (order.is_ordered, order.facts.level)
        assert world.grants.open_grants()[0].is_ordered

    def test_the_rule_of_the_lesser_level_must_let_the_requester_in(self) -> None:
        """At the moment of the grant."""
        world = decided(self.record, level=WRITE)
        rules = {READ: a_rule(who=frozenset({"bob"})), WRITE: a_rule(needed=2)}
        world.catalogue = a_catalogue(a_location(levels=rules))

        assert "You may not ask for read access" in confirm(world).reason


def test_a_request_that_was_taken_back_gets_nothing() -> None:
    """Approved or automatic, up to the last moment."""
    for world in (decided(), decided(None, level=READ)):
        world.run(ask_end, request_id=REQUEST_ID, person=ALICE)

        assert Confirmation(is_confirmed=False, reason="The request was cancelled.") == confirm(world)
        assert [] == world.grants.open_grants()


class TestPorts:
    def test_a_second_tunnel_of_the_same_person_gets_the_next_free_port(self) -> None:
        """Somebody else's does not matter, and neither does what is gone."""
        world = decided()
        world.grants.declare_grant(a_grant(a_request(request_id="R-TWNEL2", location="bb")))
        world.grants.declare_grant(a_grant(a_request(request_id="R-TWNEL3", location="cc"), state=GrantState.GONE))
        confirm(world)

        assert 56790 == world.grant().facts.port

    def test_confirming_again_keeps_the_port(self) -> None:
        """Its own grant is not in its way."""
        world = decided(port=50000)
        confirm(world)
        confirm(world)

        assert 50000 == world.grant().facts.port
