"""ConfirmApproval: the only place where a grant is made."""

import pytest

from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.errors import GrantEndingError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.confirm_approval import Confirmation, confirm_approval
from tests.factories import (
    ALICE,
    BOB,
    OPERATE,
    READ,
    REQUEST_ID,
    a_catalogue,
    a_grant,
    a_location,
    a_record,
    a_request,
    a_rule,
)
from tests.fakes import World

APPROVED = a_record(BOB, verdict=Verdict.APPROVED)


def decided(record: DecisionRecord | None = APPROVED, **changes: object) -> World:
    """A request with what was decided on it."""
    world = World()
    world.declare_request(**changes)
    if record is not None:
        world.requests.open_decision(record, task_token="token-1")
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
