"""The stack itself, translated and deployed: by the operator's own program, against moto, but for what moto cannot make.

Left out, and so shown by nothing but linters: what ``GAPS`` lists, and the API's Body. Made but not applied: egress rules, which
moto leaves open, and everything that IAM would decide.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.domain.catalogue_text import load_catalogue
from deployment.package import Package, translate
from deployment.rules import broken_rules
from deployment.spoke import spoke_template
from tests.deployment.cloud import STAGE, World, a_world, client
from tests.deployment.moto_cloudformation import without_gaps
from tests.unit.stack_template import DEFINITION, completed

SECOND = """
[bastions.far]
subnets = ["{subnet}"]
provisioner = "far"

[locations.my-far-location]
cluster = "my-aurora"
database = "reports"
region = "eu-west-1"
environment = "prod"
bastion = "far"

[locations.my-far-location.levels]
r = {{ who = "*", automatic = true }}
"""


def deployable(sam: dict[str, Any]) -> dict[str, Any]:
    """What moto can make of a template."""
    template = without_gaps(translate(sam))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::ApiGateway::RestApi":
            del resource["Properties"]["Body"]
    return template


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        catalogue = load_catalogue(made.catalogue_file.read_text(), file="catalogue.toml")
        made.template = deployable(completed(catalogue, stage=STAGE))
        yield made


def test_the_stack_reaches_its_end(world: World) -> None:
    """Every resource whose condition holds is there, and a second run finds nothing to do."""
    first = world.deploy()
    wanted = {
        name
        for name, each in world.template["Resources"].items()
        if each.get("Condition") in {None, "HasPrivateSubnets"}
    }
    made = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=f"drawbridge-{STAGE}")
    second = world.deploy()

    assert (0, "CREATE_COMPLETE") == (first.status, world.stack()["StackStatus"])
    assert set() == wanted - {each["LogicalResourceId"] for page in made for each in page["StackResourceSummaries"]}
    assert 0 == second.status


def test_with_everything_that_costs_the_stack_reaches_its_end(world: World) -> None:
    """Endpoints, public subnets and alarms at once."""
    run = world.deploy("--interface-endpoints", "--public-subnets", "--alarm-email", "operator@example.com")

    assert (0, "CREATE_COMPLETE") == (run.status, world.stack()["StackStatus"])
    assert 3 == len(client("ec2").describe_vpc_endpoints()["VpcEndpoints"])


def test_the_database_lets_in_two_groups_of_ours(world: World) -> None:
    """The bastion's and the functions', at its port, and nobody else."""
    world.deploy()
    (group,) = client("ec2").describe_security_groups(GroupIds=[world.cloud.database_group])["SecurityGroups"]
    (rule,) = group["IpPermissions"]

    assert (5432, 5432, []) == (rule["FromPort"], rule["ToPort"], rule["IpRanges"])
    assert {world.physical("BastionMainSecurityGroup"), world.physical("DatabaseFunctionsSecurityGroup")} == {
        each["GroupId"] for each in rule["UserIdGroupPairs"]
    }


def test_a_bastion_can_be_launched_as_the_functions_launch_it(world: World) -> None:
    """From its template, into a subnet that the launch names, with the tags by which people's policies know it."""
    world.deploy()
    launched = client("ec2").run_instances(
        LaunchTemplate={"LaunchTemplateName": f"drawbridge-{STAGE}-main", "Version": "$Latest"},
        SubnetId=world.cloud.subnets[0],
        MinCount=1,
        MaxCount=1,
    )
    (instance,) = launched["Instances"]

    assert {"drawbridge:stage": STAGE, "drawbridge:bastion": "main"}.items() <= {
        each["Key"]: each["Value"] for each in instance["Tags"]
    }.items()
    assert "t4g.nano" == instance["InstanceType"]


def test_every_task_of_the_workflow_invokes_a_function_that_is_there(world: World) -> None:
    """With the ARNs and names that the stack filled in."""
    world.deploy()
    (machine,) = client("stepfunctions").list_state_machines()["stateMachines"]
    filled_in = client("stepfunctions").describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"]
    functions = {
        each["FunctionArn"]
        for each in client("lambda").get_paginator("list_functions").paginate().search("Functions[]")
    }
    named = set(_invoked(json.loads(filled_in)))

    assert len(named) == len(set(_invoked(DEFINITION)))
    assert named <= functions


def _invoked(states: Any) -> Iterator[str]:
    """The functions of a definition's tasks, those that are routed with the main stack's name."""
    for state in states["States"].values():
        for branch in state.get("Branches", []):
            yield from _invoked(branch)
        asked = state.get("Parameters", {})
        if "FunctionName" in asked:
            yield asked["FunctionName"]
        elif "FunctionName.$" in asked:
            yield asked["FunctionName.$"].removeprefix("States.Format('").partition("'")[0].replace("{}", "main")


def test_the_stack_of_another_vpc_reaches_its_end_beside_it(world: World) -> None:
    """Two stacks in one account do not get in each other's way."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24", AvailabilityZone="eu-west-1a")["Subnet"]["SubnetId"]
    world.write(world.cloud.catalogue(SECOND.format(subnet=subnet)))
    catalogue = load_catalogue(world.catalogue_file.read_text(), file="catalogue.toml")
    complete = completed(catalogue, stage=STAGE)
    world.template = deployable(complete)
    world.spokes = {"far": deployable(spoke_template(complete, stage=STAGE, provisioner="far", catalogue=catalogue))}

    assert 0 == world.deploy().status
    assert "CREATE_COMPLETE" == world.stack(f"drawbridge-{STAGE}-far")["StackStatus"]
    assert {"drawbridge-example-main-RevokeAccess", "drawbridge-example-far-RevokeAccess"} <= {
        each["FunctionName"]
        for each in client("lambda").get_paginator("list_functions").paginate().search("Functions[]")
    }


def test_what_is_packaged_keeps_our_rules(example: Package) -> None:
    """As AWS takes it: translated."""
    assert [] == broken_rules(example.stack)
