"""The stack of a provisioner in another VPC: cut from the main one, whole in itself, and found by the workflow."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import CatalogueError
from chalicelib.domain.locations import BastionGroup
from deployment.references import references
from deployment.rules import broken_rules
from deployment.spoke import spoke_template
from deployment.template import EACH_DATABASE, complete_template
from tests.factories import a_catalogue, a_group, a_location
from tests.strategies import RULE
from tests.unit.stack_template import DEFINITION, STAGE, Template, completed, generated
from tests.unit.stack_values import Given

FAR = BastionGroup(name="far", subnets=("subnet-far",), vpc="vpc-0fedcba9876543210", provisioner="far")
CATALOGUE = a_catalogue(
    a_location("orders", identifier="orders"),
    a_location("stock", identifier="stock", bastion=FAR),
    a_location(
        "prices", identifier="prices", bastion=replace(FAR, name="far-too", subnets=("subnet-far", "subnet-more"))
    ),
)


def spoke(catalogue: Catalogue = CATALOGUE, provisioner: str = "far") -> Template:
    """The stack of a provisioner, from the main stack's template."""
    return spoke_template(completed(catalogue), stage=STAGE, provisioner=provisioner, catalogue=catalogue)


def of_type(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the resources of a type."""
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def test_it_holds_its_functions_and_bastions_and_nothing_that_decides() -> None:
    """The ledger, the workflow and Slack's secret stay in the main stack."""
    assert {
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::VPCEndpoint",
        "AWS::IAM::Role",
        "AWS::Logs::LogGroup",
        "AWS::Logs::MetricFilter",
        "AWS::Serverless::Function",
    } == {each["Type"] for each in spoke()["Resources"].values()}
    assert {"BastionFarLaunchTemplate", "BastionFarTooLaunchTemplate"} == set(
        of_type(spoke(), "AWS::EC2::LaunchTemplate")
    )


def test_the_workflow_finds_its_functions_by_name() -> None:
    """And may invoke them, by names that are known before they are there."""
    names = {each["FunctionName"]["Fn::Sub"] for each in of_type(spoke(), "AWS::Serverless::Function").values()}
    role = of_type(completed(CATALOGUE), "AWS::IAM::Role")["WorkflowRole"]
    (invoke,) = [each for each in role["Policies"] if each["PolicyName"] == "Invoke"]
    allowed = {
        each["Fn::Sub"].rpartition(":")[2]
        for each in invoke["PolicyDocument"]["Statement"][0]["Resource"]
        if "Fn::Sub" in each
    }

    assert {"drawbridge-${Stage}-far-ProvisionDatabaseUser", "drawbridge-${Stage}-far-RevokeAccess"} == names
    assert names < allowed


def test_its_functions_are_in_its_subnets() -> None:
    """Those of all its bastions, each once."""
    for function in of_type(spoke(), "AWS::Serverless::Function").values():
        assert ["subnet-far", "subnet-more"] == function["VpcConfig"]["SubnetIds"]


def test_its_functions_are_the_main_ones_but_for_name_and_place() -> None:
    """The same archive, the same settings."""
    main, far = completed(CATALOGUE), spoke()
    differing = {"FunctionName", "VpcConfig"}

    for name, function in of_type(far, "AWS::Serverless::Function").items():
        theirs = main["Resources"][name]["Properties"]
        assert {key: value for key, value in theirs.items() if key not in differing} == {
            key: value for key, value in function.items() if key not in differing
        }


def test_it_refers_to_nothing_outside_itself() -> None:
    """Stacks that refer to each other could not be deployed one by one."""
    template = spoke()

    assert references(template["Resources"]) <= {*template["Resources"], *template["Parameters"]}
    assert [] == broken_rules(template)


def test_it_is_asked_only_for_its_own_databases() -> None:
    """And for the stage, the archive, its VPC and whether somebody hears alarms."""
    parameters = spoke()["Parameters"]

    assert {"ClusterPrices", "ClusterStock"} == {
        name.removeprefix("Database").removesuffix("Port") for name in parameters if name.endswith("Port")
    }
    assert {"Stage", "ArtifactBucket", "ArtifactKey", "Vpc", "InterfaceEndpoints", "AlarmTopicEmail"} == {
        name for name in parameters if not name.startswith("Database")
    }
    assert "vpc-0fedcba9876543210" == parameters["Vpc"]["Default"]


def test_its_functions_have_no_right_on_other_databases() -> None:
    """A right that nobody needs is somebody's way in."""
    sam = generated()
    right = {EACH_DATABASE: "arn:${AWS::Partition}:rds-db:${Region}:${AWS::AccountId}:dbuser:${ResourceId}/drawbridge"}
    statement = {"Effect": "Allow", "Action": "rds-db:connect", "Resource": [right]}
    policy = {"PolicyName": "Connect", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    sam["Resources"]["RevokeAccessRole"]["Properties"]["Policies"] = [policy]
    complete = complete_template(sam, stage=STAGE, catalogue=CATALOGUE, definition=DEFINITION)
    template = spoke_template(complete, stage=STAGE, provisioner="far", catalogue=CATALOGUE)
    (left,) = template["Resources"]["RevokeAccessRole"]["Properties"]["Policies"]

    assert ["${DatabaseClusterPricesResourceId}", "${DatabaseClusterStockResourceId}"] == [
        each["Fn::Sub"].rpartition(":")[2].partition("/")[0]
        for each in left["PolicyDocument"]["Statement"][0]["Resource"]
    ]


def test_the_main_stack_leaves_its_bastions_to_it() -> None:
    """Their launch templates would be made twice under one name, and in the wrong VPC."""
    main = completed(CATALOGUE)

    assert ["BastionMainLaunchTemplate"] == list(of_type(main, "AWS::EC2::LaunchTemplate"))
    assert "Far" not in "".join(name for name in main["Resources"])
    assert 3 == len(of_type(main, "AWS::SSM::Document"))


def test_its_log_groups_have_names_of_their_own() -> None:
    """Both stacks are in one account."""
    main, far = (
        {
            each["LogGroupName"]["Fn::Sub"]
            for each in of_type(template, "AWS::Logs::LogGroup").values()
            if "LogGroupName" in each
        }
        for template in (completed(CATALOGUE), spoke())
    )

    assert not main & far


def test_databases_that_share_a_security_group_get_one_rule() -> None:
    """As in the main stack."""
    catalogue = a_catalogue(
        a_location("orders", identifier="orders"),
        a_location("stock", identifier="stock", bastion=FAR),
        a_location("prices", identifier="prices", bastion=FAR),
    )
    template = spoke(catalogue)
    values = {name: "sg-0123456789abcdef0" for name in template["Parameters"] if name.endswith("SecurityGroup")}
    values |= {name: "5432" for name in template["Parameters"] if name.endswith("Port")}

    assert ["BastionFarToClusterPrices", "DatabaseFunctionsToClusterPrices"] == sorted(
        Given(template, values).of_type("AWS::EC2::SecurityGroupIngress")
    )


def test_the_main_template_is_left_as_it_was() -> None:
    """Several stacks are cut from it."""
    complete = completed(CATALOGUE)
    before = json.dumps(complete)
    spoke_template(complete, stage=STAGE, provisioner="far", catalogue=CATALOGUE)

    assert before == json.dumps(complete)


def test_a_provisioner_that_nothing_needs_is_refused() -> None:
    """A stack of it would hold functions that reach nothing."""
    with pytest.raises(CatalogueError, match="the provisioner 'nowhere'"):
        spoke(provisioner="nowhere")


@st.composite
def catalogues(draw: Callable[..., Any]) -> Catalogue:
    """Locations behind the main provisioner and another, in any mixture with at least one of each."""
    ours, theirs = a_group("near"), FAR
    locations = [
        a_location("first", identifier="a", bastion=ours),
        a_location("second", identifier="b", bastion=theirs),
    ]
    for place in range(draw(st.integers(0, 6))):
        identifier = draw(st.sampled_from(["a", "b", "c", "d-1"]))
        locations.append(
            a_location(f"more-{place}", identifier=identifier, bastion=draw(st.sampled_from([ours, theirs])))
        )
    return a_catalogue(*locations)


@RULE
@given(catalogues())
def test_any_mixture_is_whole_in_both_stacks(catalogue: Catalogue) -> None:
    """A database that both reach has its rules in each, from each one's own groups."""
    assert [] == broken_rules(completed(catalogue))
    assert [] == broken_rules(spoke(catalogue))
