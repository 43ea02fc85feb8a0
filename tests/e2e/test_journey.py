"""The journey from ask to receipt, as people make it: command in Slack, tunnel, query, end, refusal."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import IO, Any

import boto3
import psycopg
import pytest

from tests.e2e.people import People, eventually, lines_of

SHELLS = [found for name in ("sh", "bash", "dash", "zsh") if (found := shutil.which(name))]


def test_a_running_bastion_is_shared(people: People) -> None:
    """Two people at once get two database users and one bastion; asking again reuses it."""
    first = people.ask("alice", "my-aurora-location r")
    second = people.ask("bob", "my-reports-location r")

    bastions = {_bastion_of(people, "alice", first), _bastion_of(people, "bob", second)}
    roles = {_role_of(people, "alice", first), _role_of(people, "bob", second)}

    assert 1 == len(bastions)
    assert 2 == len(roles)
    assert {"Finished"} == {people.wait_for_end(first), people.wait_for_end(second)}


def test_asking_for_what_is_held_extends_nothing(people: People) -> None:
    """A second ask says until when the access is held, and that end stays."""
    request_id = people.ask("alice", "my-aurora-location r")
    before = str(people.ready("alice", request_id)["blocks"])

    reply = people.reply("alice", "/db-access my-aurora-location r 2h")

    assert "You hold read access" in reply
    assert "Nothing was extended" in reply
    assert before == str(people.ready("alice", request_id)["blocks"])
    assert "Finished" == people.wait_for_end(request_id)


def test_the_holder_ends_access_at_once(people: People) -> None:
    """End Now does not wait for the end."""
    request_id = people.ask("bob", "my-reports-location r 1h")

    people.press_ready("bob", request_id, "end")

    assert "Finished" == people.wait_for_end(request_id)
    assert people.direct("bob", request_id, "sessions left") is not None


def test_an_approver_says_no(people: People) -> None:
    """A denied request names who said no and grants nothing."""
    request_id = people.ask("bob", "my-reports-location w 5m because")

    people.deny("carol", request_id)

    assert "Denied" == people.wait_for_end(request_id)
    assert "ConfirmApproval" not in people.workspace.states_entered(request_id)


@pytest.mark.parametrize(
    ("shell", "location", "table"),
    [*((shell, "my-aurora-location", "orders") for shell in SHELLS), (SHELLS[0], "my-reports-location", "totals")],
)
def test_the_delivered_line_works_as_pasted(people: People, shell: str, location: str, table: str) -> None:
    """The line from the message, unchanged, in a shell that the workspace describes; also by the document that AWS owns."""
    request_id = people.ask("alice", f"{location} r 30m")
    tunnel, psql, *_ = lines_of(people.ready("alice", request_id))
    token = people.token("alice", request_id)
    profile = people.workspace.shells.directory / "alice"

    pasted = subprocess.Popen(
        [shell, "-c", f". {profile}\n{tunnel}"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(people.workspace.directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert pasted.stdout is not None
        printed = _read_until_open(pasted.stdout)
        with psycopg.connect(shlex.split(psql)[1], password=token) as connection:
            answer = connection.execute(f"SELECT count(*) FROM shop.{table}".encode()).fetchone()
    finally:
        people.press_ready("alice", request_id, "end")
        status = pasted.wait(20)

    assert "Port" in printed
    assert (3,) == answer
    assert 0 == status
    assert "Finished" == people.wait_for_end(request_id)


def _read_until_open(output: IO[str]) -> str:
    """What the command prints until it waits for connections; one that ends before that has failed."""
    printed = ""
    while not printed.endswith("Waiting for connections...\n"):
        line = output.readline()
        assert line, f"the tunnel did not open: {printed}"
        printed += line
    return printed


def test_an_unexplained_tunnel_is_ended(people: People, tmp_path: Path) -> None:
    """A tunnel whose reason is no live grant does not keep a bastion up: housekeeping ends it."""
    request_id = people.ask("alice", "my-reports-location r 30m")
    tunnel, *_ = lines_of(people.ready("alice", request_id))
    stray = tunnel.replace(request_id, "R-222222")
    environment = people.workspace.shells.settings("bob") | {"HOME": str(tmp_path)}
    free_port = stray.replace(f"localPortNumber={_port_of(tunnel)}", "localPortNumber=0")

    opened = subprocess.Popen(
        ["/bin/sh", "-c", free_port], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    printed, _ = opened.communicate(timeout=30)

    # It may be ended before it is open; that housekeeping did it, the audit trail says.
    assert "Starting session with SessionId" in printed
    eventually("the audit entry", lambda: [row for row in _rows() if "R-222222" in str(row)])
    assert ["tunnel ended"] == [row["event"]["S"] for row in _rows() if "R-222222" in str(row)]
    people.press_ready("alice", request_id, "end")
    assert "Finished" == people.wait_for_end(request_id)


def test_the_bastion_stops_when_nobody_needs_it(people: People) -> None:
    """Idle means no lease for the grace time; then housekeeping stops the instance and the ledger says so."""
    request_id = people.ask("alice", "my-aurora-location r 1s")
    people.wait_for_end(request_id)

    eventually("the stop", lambda: people.workspace.bastion_state() == "stopped")
    ledger = boto3.client("dynamodb")
    state = eventually(
        "the settling",
        lambda: _state_of(ledger) == "stopped" and _state_of(ledger),
    )

    assert "stopped" == state


def _rows() -> list[dict[str, Any]]:
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName="drawbridge")
    return [row for page in pages for row in page["Items"]]


def _state_of(ledger: object) -> str:
    key = {"pk": {"S": "BASTION#main"}, "sk": {"S": "BASTION"}}
    return str(ledger.get_item(TableName="drawbridge", Key=key)["Item"]["state"]["S"])  # type: ignore[attr-defined]


def _bastion_of(people: People, who: str, request_id: str) -> str:
    words = lines_of(people.ready(who, request_id))[0].split()
    return words[words.index("--target") + 1]


def _role_of(people: People, who: str, request_id: str) -> str:
    conninfo = psycopg.conninfo.conninfo_to_dict(shlex.split(lines_of(people.ready(who, request_id))[1])[1])
    return str(conninfo["user"])


def _port_of(tunnel: str) -> str:
    return tunnel.partition("localPortNumber=")[2].partition('"')[0]
