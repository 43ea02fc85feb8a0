"""The operator's audit of what really happened: whole while nobody touches it, and naming the entry that somebody did."""

import json
import os
import subprocess
import sys
from typing import Any

import boto3

from local import seed
from local.identities import SECRET, WORKSPACE_KEY
from tests.e2e.people import People, eventually

HAPPENINGS = ["asked", "refused", "decided", "approval closed", "granted", "delivered", "token made", "end asked"]
HAPPENINGS += ["ending", "tunnels closed", "ended", "receipt"]


def test_a_story_is_told_whole_and_tampering_is_named(people: People) -> None:
    """From the ask to the receipt, with whom the endpoint refused; then somebody gives the grant to another user."""
    request_id = people.ask("alice", "my-aurora-location w 30m fix it")
    people.decide("alice", request_id)
    people.decide("carol", request_id)
    people.press_ready("alice", request_id, "show_token")
    eventually("the token", lambda: "token made" in people.audited(request_id))
    people.press_ready("alice", request_id, "end")
    people.wait_for_end(request_id)

    told = [json.loads(line) for line in _audit("export", request_id)[1].splitlines()]
    assert [*enumerate(HAPPENINGS, start=1)] == [(entry["number"], entry["event"]) for entry in told]
    status, printed = _audit("verify")
    assert (0, True) == (status, ": 0 trails with something wrong, 0 doubts." in printed)
    number = HAPPENINGS.index("granted") + 1
    _tamper(request_id, number)
    status, printed = _audit("verify")
    assert (1, True) == (status, printed.startswith(f"{request_id}, entry {number}: changed"))


def _tamper(request_id: str, number: int) -> None:
    boto3.client("dynamodb").update_item(
        TableName=seed.TABLE,
        Key={"pk": {"S": f"AUDIT#{request_id}"}, "sk": {"S": f"{number:06d}"}},
        UpdateExpression="SET facts.#role = :role",
        ExpressionAttributeNames={"#role": "role"},
        ExpressionAttributeValues={":role": {"S": "jit_somebody_else"}},
    )


def _audit(verb: str, request_id: str = "") -> tuple[int, str]:
    """The operator's program, run with the operator's own key."""
    own: dict[str, Any] = {"AWS_ACCESS_KEY_ID": WORKSPACE_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    names = ["--table", seed.TABLE, "--log-group", seed.AUDIT_LOG]
    command = [sys.executable, "-m", "deployment", "audit", verb, *names, "--request", request_id]
    run = subprocess.run(
        command, check=False, env=os.environ | own, cwd=seed.ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode in {0, 1}, run.stderr
    return run.returncode, run.stdout
