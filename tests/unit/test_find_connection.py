"""How the holder of a live grant reaches its database, and nobody else."""

import pytest

from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.workflow.find_connection import find_connection
from tests.factories import ALICE, BOB, FRIDAY_NOON, REQUEST_ID, WRITER, a_connection, a_grant, a_request, seconds
from tests.fakes import World

READY = a_grant(delivered_at=FRIDAY_NOON, instance_id="i-0123456789abcdef0", writer=WRITER)


def holding(grant: Grant | None = READY) -> World:
    world = World()
    world.declare_request()
    if grant is not None:
        world.grants.declare_grant(grant)
    return world


def find(world: World, person_id: str = ALICE.person_id, request_id: str = REQUEST_ID) -> ConnectionDetails | Refusal:
    return world.run(find_connection, request_id=request_id, person_id=person_id)


def test_the_holder_gets_what_was_delivered() -> None:
    """As often as they look; nothing changes by it."""
    world = holding()

    assert a_connection() == find(world) == find(world)
    assert READY == world.grant()


@pytest.mark.parametrize("person_id", [BOB.person_id, "", "T0OTHER/U0ALICE", "U0ALICE"])
def test_somebody_else_gets_nothing(person_id: str) -> None:
    """Not the approver, and not the same user of another team."""
    assert Refusal(reason="R-ABC234 is not yours: only the person who was granted access can see this.") == find(
        holding(), person_id
    )


def test_an_unknown_request_is_answered_like_somebody_elses() -> None:
    """Guessing ids teaches nothing."""
    outcome = find(World(), request_id="R-XXXXXX")

    assert isinstance(outcome, Refusal)
    assert "R-XXXXXX is not yours" in outcome.reason


@pytest.mark.parametrize(
    "grant",
    [
        None,
        a_grant(),
        a_grant(state=GrantState.ENDING, instance_id="i-1", writer=WRITER),
        a_grant(state=GrantState.GONE, instance_id="i-1", writer=WRITER),
        a_grant(instance_id="i-1", writer=WRITER, ends_at=FRIDAY_NOON + seconds(0.9)),
        a_grant(a_request(request_id="R-NEXT22"), instance_id="i-1", writer=WRITER),
    ],
    ids=["none", "not delivered", "ending", "gone", "at its end", "another request's"],
)
def test_what_is_not_delivered_or_not_live_is_not_shown(grant: Grant | None) -> None:
    """The answer says what to do."""
    assert Refusal(reason="R-ABC234 has ended. Ask again with /db-access.") == find(holding(grant))
