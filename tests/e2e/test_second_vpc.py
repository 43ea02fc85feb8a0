"""A location whose database is in another VPC: its bastion and its database functions are that VPC's own."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib.domain.bastions import TAG
from local.workspace import Workspace
from tests.e2e.people import People, lines_of

CATALOGUE = """
[bastions.far]
subnets = ["subnet-b"]
vpc = "vpc-0123456789abcdef0"
provisioner = "far"

[locations.far-location]
cluster = "my-aurora"
database = "reports"
region = "eu-west-1"
environment = "prod"
bastion = "far"
port = 56804

[locations.far-location.levels]
r = { who = "*", automatic = true, cap = "8h" }
"""


@pytest.fixture
def called(workspace: Workspace) -> Iterator[list[str]]:
    """The database functions that were called, in order, by the names that Lambda knows them by."""
    names, handlers = list[str](), dict(workspace.handlers)

    def noting(name: str) -> Any:
        def handle(event: Any, context: Any) -> Any:
            names.append(name)
            return handlers[name](event, context)

        return handle

    workspace.handlers |= {name: noting(name) for name in handlers if "-" in name}
    yield names
    workspace.handlers |= handlers


@pytest.mark.parametrize(("location", "provisioner"), [("my-reports-location", "main"), ("far-location", "far")])
def test_each_vpc_has_its_own_bastion_and_its_own_database_functions(
    people: People, called: list[str], location: str, provisioner: str
) -> None:
    """Those of the location's group make the person's user and take it away again, and no others are called."""
    request_id = people.ask("alice", f"{location} r 30m")
    words = lines_of(people.ready("alice", request_id))[0].split()
    people.press_ready("alice", request_id, "end")
    ended = people.wait_for_end(request_id)
    described = boto3.client("ec2").describe_instances(InstanceIds=[words[words.index("--target") + 1]])
    tags = described["Reservations"][0]["Instances"][0]["Tags"]

    assert "Finished" == ended
    assert {"Key": TAG, "Value": provisioner} in tags
    assert [f"drawbridge-local-{provisioner}-{name}" for name in ("ProvisionDatabaseUser", "RevokeAccess")] == called
