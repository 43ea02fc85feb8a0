"""ReconcileGrants: ends that their own execution did not see to are seen to."""

import pytest

from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import GrantState
from chalicelib.workflow.reconcile_grants import reconcile_grants
from tests.factories import BOB, FRIDAY_NOON, READ, REQUEST_ID, a_grant, a_request, minutes
from tests.fakes import FakeExecutions, World


def late(late_minutes: float, *, state: GrantState = GrantState.ENDING) -> World:
    """A grant whose end was so many minutes ago and whose execution is dead."""
    world = World()
    world.declare_grant(state=state, ends_at=FRIDAY_NOON - minutes(late_minutes))
    return world


def reconcile(world: World) -> list[str]:
    return list(world.run(reconcile_grants))


def test_a_late_end_gets_an_execution_of_its_own() -> None:
    """With the same definition, for revoking only; and it is audited."""
    world = late(5)

    assert ["R-ABC234-revoke-2"] == reconcile(world)
    document = world.executions.started["R-ABC234-revoke-2"]
    assert (REQUEST_ID, "revoke", None) == (
        document["request_id"],
        document["purpose"],
        document["database"]["order"],
    )
    assert ["revocation started"] == world.audit.events(REQUEST_ID)


def test_a_live_grant_past_its_end_is_seen_to_as_well() -> None:
    """Its execution died while it held."""
    assert ["R-ABC234-revoke-2"] == reconcile(late(5, state=GrantState.LIVE))


def test_a_grant_is_left_to_its_own_execution_for_a_while() -> None:
    """Before its end, and two minutes after."""
    assert [] == reconcile(late(-30)) == reconcile(late(1.9))


def test_a_grant_whose_execution_runs_is_left_to_it() -> None:
    """It may be waiting for the database."""
    world = late(5)
    world.executions.running.add(REQUEST_ID)

    assert [] == reconcile(world)


def test_a_grant_that_is_gone_is_over() -> None:
    """There is a receipt."""
    assert [] == reconcile(late(500, state=GrantState.GONE))


def test_asking_twice_at_the_same_time_starts_one_execution() -> None:
    """The name follows from the lateness."""
    world = late(5)
    for _ in range(2):
        reconcile(world)

    assert ["R-ABC234-revoke-2"] == list(world.executions.started)


def test_attempts_go_on_until_there_is_a_receipt() -> None:
    """Every five minutes of a schedule: often at first, then hourly, for as long as it takes."""
    world = late(0)
    for _ in range(12 * 24):
        world.clock.advance(300)
        reconcile(world)
    hourly = [name for name in world.executions.started if int(name.rpartition("-")[2]) > 5]

    assert (28, 24) == (len(world.executions.started), len(hourly))


def test_each_late_grant_has_its_own() -> None:
    """Soonest end first."""
    world = late(5)
    world.grants.declare_grant(a_grant(a_request(request_id="R-BBB222", person=BOB), ends_at=FRIDAY_NOON - minutes(90)))
    world.grants.declare_grant(a_grant(a_request(request_id="R-READ22", level=READ)))

    assert ["R-BBB222-revoke-6", "R-ABC234-revoke-2"] == reconcile(world)


def test_one_that_fails_does_not_keep_the_others_from_their_turn() -> None:
    """All are tried; then the turn says what failed, so that an alarm can."""

    class OneFails(FakeExecutions):
        def is_running(self, name: str) -> bool:
            if name == "R-BBB222":
                raise LedgerUnavailableError("The workflow did not answer.")
            return super().is_running(name)

    world = late(5)
    world.grants.declare_grant(a_grant(a_request(request_id="R-BBB222", person=BOB), ends_at=FRIDAY_NOON - minutes(90)))
    world.executions = OneFails()

    with pytest.raises(LedgerUnavailableError, match="R-BBB222"):
        reconcile(world)

    assert ["R-ABC234-revoke-2"] == list(world.executions.started)
