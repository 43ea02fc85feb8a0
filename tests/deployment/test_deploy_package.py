"""The example's own package is deployed, deployed again and destroyed, as far as moto's CloudFormation can make its stack."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.cloudformation.parsing import get_model_map

from deployment.package import EXAMPLE_CATALOGUE, Package
from tests.deployment.cloud import World, a_world, client
from tests.deployment.moto_cloudformation import GAPS, without_gaps
from tests.deployment.test_destroy import NOTHING, left


@pytest.fixture
def world(example: Package, tmp_path: Path) -> Iterator[World]:
    """With the VPC and the subnets that there are in the place of the example's."""
    with a_world(tmp_path) as made:
        there = dict(zip(("subnet-a", "subnet-b"), made.cloud.subnets, strict=True))
        there |= {group.vpc: made.cloud.vpc for group in example.catalogue.bastions.values() if group.vpc}

        def translated(text: str) -> str:
            for old, new in there.items():
                text = text.replace(f'"{old}"', f'"{new}"')
            return text

        made.write(translated(EXAMPLE_CATALOGUE.read_text()))
        made.template = without_gaps(json.loads(translated(json.dumps(example.stack))))
        yield made


def test_it_is_made_left_alone_and_destroyed(world: World) -> None:
    """Three runs, as an operator's."""
    first, second = world.deploy(), world.deploy()
    status = world.stack()["StackStatus"]
    workflow = client("stepfunctions").describe_state_machine(stateMachineArn=world.physical("Workflow"))
    last = world.destroy()

    assert (0, 0, 0, "CREATE_COMPLETE") == (first.status, second.status, last.status, status)
    assert "No changes: everything is deployed as it is here." in second.saw
    assert "drawbridge-example-access-request" == workflow["name"]
    assert "${" not in workflow["definition"]
    assert NOTHING == left()


def test_its_paths_are_open(world: World) -> None:
    """The list that ends a deployment ticks the rules that the stack has made."""
    assert "✓ port 5432 of my-aurora is open to the bastion main, the functions" in world.deploy().saw


def test_what_moto_cannot_make_is_what_the_proof_leaves_out(example: Package) -> None:
    """Nothing more is taken out of the template than has to be, and the list is complete."""
    asked = {each["Type"] for each in example.stack["Resources"].values()}
    unknown = asked - get_model_map().keys() - {"AWS::SecretsManager::Secret"}

    assert asked & GAPS.keys() == GAPS.keys()
    assert unknown | {"AWS::ApiGateway::Deployment"} == set(GAPS)
