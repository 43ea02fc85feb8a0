"""A bastion through which people work breaks: it is brought back, and its holders are told the line that works."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from local.workspace import Workspace
from tests.e2e.people import People, eventually, lines_of
from tests.privileges.judge import Judge

SECONDS = {"UNREACHABLE": 1}
FUNCTION = "stop_idle_bastions"


@pytest.fixture
def held(people: People) -> Iterator[str]:
    """Read access to my-aurora-location that bob holds."""
    request_id = people.ask("bob", "my-aurora-location r 30m")
    people.ready("bob", request_id)
    yield request_id
    people.reply("bob", f"/db-access end {request_id}")
    assert "Finished" == people.wait_for_end(request_id)


def test_one_that_is_not_connected_is_rebooted_and_one_that_was_stopped_is_started(
    people: People, workspace: Workspace, judge: Judge, held: str
) -> None:
    """Neither changes the line."""
    instance_id = people.grant(held).instance_id
    workspace.sessions.unreachable.add(instance_id)
    eventually("the reboot", lambda: judge.has_seen(FUNCTION, "ec2:RebootInstances"))
    workspace.sessions.unreachable.clear()
    _ec2().stop_instances(InstanceIds=[instance_id])
    eventually("the start", lambda: judge.has_seen(FUNCTION, "ec2:StartInstances"))

    assert instance_id == people.grant(held).instance_id


def test_one_that_is_gone_is_replaced_and_its_holder_told(
    people: People, workspace: Workspace, judge: Judge, held: str
) -> None:
    """Though the cheapest type has no room: a message of its own says why, with the new line, as the ready message has it."""
    before = people.grant(held).instance_id
    for subnet in _ec2().describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.*"]}])["Subnets"]:
        workspace.aws.fail_capacity(subnet["SubnetId"], 1)
    _ec2().terminate_instances(InstanceIds=[before])
    eventually("the new instance", lambda: people.grant(held).instance_id != before)
    told = eventually("the message", lambda: people.direct("bob", held, "was replaced"))

    after = people.grant(held).instance_id
    ready = people.ready("bob", held)
    assert [True, True] == [after in lines_of(message)[0] for message in (told, ready)]
    for kind in ("t4g.nano", "t4g.micro"):
        assert judge.has_seen(FUNCTION, "ec2:RunInstances", kind)


def _ec2() -> Any:
    return boto3.client("ec2")
