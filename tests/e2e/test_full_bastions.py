"""A group of bastions whose places are all taken: who comes next is told so, keeps nothing, and is served once there is room."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.table import Table
from chalicelib.defaults import BASTIONS_PER_GROUP, LEASES_PER_BASTION
from chalicelib.domain.bastions import bastion_names
from local import seed
from local.workspace import Workspace
from tests.e2e.people import People, said_in

LEASES = [
    (name, f"R-{number:02}{name[-1].upper()}AAA")
    for name in bastion_names("main")
    for number in range(LEASES_PER_BASTION)
]


@pytest.fixture
def ledger(workspace: Workspace) -> Iterator[DynamoBastionLedger]:
    """The leases of others on every place of the group."""
    now, ledger = datetime.now(UTC), DynamoBastionLedger(Table(boto3.client("dynamodb"), seed.TABLE))
    with workspace.schedule.pause:
        for name, request_id in LEASES:
            assert ledger.take_lease(name, request_id, until=now + timedelta(hours=1))
        yield ledger
        _release_all(ledger)


def _release_all(ledger: DynamoBastionLedger) -> None:
    for name, request_id in LEASES:
        ledger.release_lease(name, request_id, at=datetime.now(UTC))


def test_who_comes_next_is_told_and_can_ask_again(people: People, ledger: DynamoBastionLedger) -> None:
    """How many have access, and when to ask again. What was made meanwhile is gone, and the others keep their places."""
    request_id = people.ask("alice", "my-aurora-location r")
    last = people.wait_for_end(request_id)
    told = said_in(people.direct("alice", request_id, "could not be carried out"))
    kept = [bastion.leases.keys() for bastion in ledger.find_bastions(bastion_names("main"))]
    with people.workspace.database.connect() as connection:
        users = connection.execute(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'jit\_%'").fetchall()
    _release_all(ledger)
    again = people.ask("alice", "my-aurora-location r")
    people.ready("alice", again)

    assert "Failed" == last
    assert f"All {BASTIONS_PER_GROUP} bastions of main are full: {len(LEASES)} people have or await access" in told
    assert "Ask again when somebody's has ended." in told
    assert [] == users
    assert {request for _, request in LEASES} == set().union(*kept)
    assert "Finished" == people.wait_for_end(again)
