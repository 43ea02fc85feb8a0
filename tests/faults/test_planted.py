"""Bugs that are planted in a world, by another definition or another function in its place: each is seen."""

from typing import Any

import boto3
import pytest
from psycopg.sql import SQL, Identifier

from chalicelib.domain.errors import DatabaseUnavailableError
from tests.faults.campaign import Course
from tests.faults.gate import Fault, Place, Plan
from tests.faults.ground import Ground
from tests.faults.play import play
from tests.faults.world import World

Definition = dict[str, Any]


def test_sessions_ended_before_the_login_is_taken_are_seen(ground: Ground) -> None:
    """Somebody logs in again between the two, and stays."""

    def revoke_access(world: World, event: Any) -> Any:
        root, facts = world.ground.root, event["order"]["facts"]
        (role,) = root.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'jit\\_%'").fetchone() or ("",)
        root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
        world.scheduler.sleep(10.0)
        root.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role)))
        receipt = {"role": role, "read_at": world.now().isoformat(), "sessions": 0, "can_log_in": False}
        empty = {"is_dropped": False, "memberships": [], "kept": [], "unchecked": [], "superseded_by": None}
        assert facts["person"]["name"] == "alice"
        return {"receipt": receipt | empty | {"parked_strangers": []}}

    run = play(ground, "stubborn", {}, handlers={"RevokeAccess": revoke_access})

    assert "alice may still use the database (r) though the grant is gone" in run.violations


def test_a_lease_taken_after_the_start_is_seen(ground: Ground) -> None:
    """For a while the bastion is up for nobody."""

    def ensure_bastion_running(world: World, event: Any) -> Any:
        template = {"LaunchTemplateName": "drawbridge-local-main"}
        ec2: Any = boto3.client("ec2")
        ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1, ClientToken=event["request_id"])
        return world.call("EnsureBastionRunning", event)

    run = play(ground, "brief", {}, handlers={"EnsureBastionRunning": ensure_bastion_running})

    assert "a bastion was started without a lease" in run.violations


def test_a_decision_signalled_before_it_is_recorded_is_seen(ground: Ground) -> None:
    """The execution looks too early and finds that nobody has answered."""

    def api_handler(world: World, event: Any) -> Any:
        token = next((item["task_token"] for item in world.rows("REQUEST#") if item["sk"] == "DECISION"), "")
        if token in world.open_tokens() and "approve" in event["body"]:
            world.machine.succeed(token)
            world.scheduler.sleep(5.0)
        return world.call("APIHandler", event)

    run = play(ground, "approved", {}, handlers={"APIHandler": api_handler})

    assert "a request timed out before its time" in run.violations


def test_a_retry_on_the_hold_is_seen(ground: Ground) -> None:
    """The pause before it begins anew may last past the end, and nothing wakes it."""

    def retry(definition: Definition) -> Definition:
        retrier = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 300, "MaxAttempts": 3, "BackoffRate": 1.0}
        definition["States"]["HoldAccess"]["Retry"] = [retrier]
        return definition

    run = play(ground, "brief", {}, definition=retry)

    assert "alice may still use the database (r) 90 seconds after the end" in run.violations


@pytest.mark.parametrize("state", ["DeliverConnection", "RevokeAccess"])
def test_a_catch_without_a_result_path_is_seen(ground: Ground, state: str) -> None:
    """The error takes the place of the document, and the next state finds nothing in it."""

    def lose(definition: Definition) -> Definition:
        del definition["States"][state]["Catch"][0]["ResultPath"]
        return definition

    whole = play(ground, "brief", _death_in(ground, state))
    run = play(ground, "brief", _death_in(ground, state), definition=lose)

    assert () == whole.violations
    assert any("an execution died of States.Runtime" in each for each in run.violations)


def test_provisioning_that_commits_after_the_revocation_is_seen(ground: Ground) -> None:
    """A user comes into being whom nobody takes away."""

    def provision_database_user(world: World, event: Any) -> Any:
        def commit() -> None:
            later = {
                name: event["order"][name].replace(str(year), str(year + 1), 1) for name in ("ends_at", "not_after")
            }
            world.call("ProvisionDatabaseUser", event | {"order": event["order"] | later})

        year = world.start.year
        world.scheduler.spawn("late provisioning", commit, at=world.scheduler.now + 1200.0)
        raise DatabaseUnavailableError("The database did not do its part.")

    run = play(ground, "brief", {}, handlers={"ProvisionDatabaseUser": provision_database_user})

    assert any("may still use the database (r) though the grant is gone" in each for each in run.violations)


def _death_in(ground: Ground, state: str) -> Plan:
    """The function of a state dies at its first call, for which there is no Retry."""
    function = state
    calls = Course(story="brief", calls=play(ground, "brief", {}).points).places()
    place: Place = next(place for place, call in calls if call.function == function and call.kind != "lambda")
    return {place: Fault.KILLED_BEFORE}
