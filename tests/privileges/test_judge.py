"""Nothing that was not thought of is allowed, and only whole runs are compared with the file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.api_gateway import API_ID
from local.aws_calls import AwsCall
from local.identities import WORKSPACE_KEY, access_key_of, assume_role
from local.stack import STAGE
from tests.privileges.judge import Judge
from tests.privileges.suite import is_whole

ROOT = Path(__file__).parents[2]
GRANT = {"TableName": "drawbridge", "Key": {"pk": {"S": "GRANT#g"}, "sk": {"S": "GRANT"}}}
OPTIONS: dict[str, Any] = dict.fromkeys(("keyword", "markexpr"), "") | {"collectonly": False}
OPTIONS |= dict.fromkeys(("deselect", "ignore", "ignore_glob"))


def judge(key: str, operation: str, parameters: dict[str, Any], service: str = "dynamodb") -> tuple[str | None, Judge]:
    judging = Judge()
    call = AwsCall(access_key_id=key, service=service, operation=operation, parameters=parameters)
    return judging(call), judging


def test_what_a_policy_grants_is_allowed_and_noted() -> None:
    """By the function's own policy."""
    refusal, judging = judge(access_key_of("CheckGrantEnd"), "UpdateItem", GRANT)

    assert refusal is None
    assert judging.has_seen("check_grant_end", "dynamodb:UpdateItem", "GRANT#*")


@pytest.mark.parametrize(
    ("key", "operation", "service"),
    [
        (access_key_of("APIHandler"), "UpdateItem", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "DeleteItem", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "Scan", "dynamodb"),
        (access_key_of("CheckGrantEnd"), "GetParameter", "ssm"),
        (access_key_of("NoFunction"), "UpdateItem", "dynamodb"),
        ("AKIAEXAMPLESTRANGER0", "UpdateItem", "dynamodb"),
    ],
)
def test_everything_else_is_refused_and_kept(key: str, operation: str, service: str) -> None:
    """The endpoint and grants, an action too many, a call that nobody thought of, and keys of strangers."""
    refusal, judging = judge(key, operation, GRANT, service)

    assert [refusal] == judging.refusals
    assert refusal


@mock_aws
def test_people_may_call_the_api_and_no_service_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the one policy that the stack makes for them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    alice = assume_role("Developer", "alice@example.com")["aws_access_key_id"]
    invoked = {"Resource": f"{API_ID}/api/GET/v1/locations"}

    assert judge(alice, "Invoke", invoked, "execute-api")[0] is None
    assert judge(alice, "Invoke", {"Resource": f"{API_ID}/api/POST/slack/events"}, "execute-api")[0]
    assert judge(alice, "UpdateItem", GRANT)[0]


@mock_aws
@pytest.mark.parametrize(("is_of_the_catalogue", "is_refused"), [(True, False), (False, True)])
def test_a_bastion_is_launched_in_the_catalogues_subnets_alone(
    is_of_the_catalogue: bool, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another subnet of the account may lead where nobody looked."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    ec2 = boto3.client("ec2")
    ours = ec2.create_subnet(VpcId=ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"], CidrBlock="10.0.1.0/24")
    theirs = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]
    subnet = (ours["Subnet"] if is_of_the_catalogue else theirs)["SubnetId"]
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "drawbridge:stage", "Value": STAGE}]}]
    data = {"InstanceType": "t4g.nano"}
    ec2.create_launch_template(LaunchTemplateName="main", LaunchTemplateData=data, TagSpecifications=tags)
    launch = {"LaunchTemplate.LaunchTemplateName": "main", "SubnetId": subnet, "InstanceType": "t4g.nano"}
    refusal, _ = judge(access_key_of("WarmBastion"), "RunInstances", launch, "ec2")

    assert is_refused is bool(refusal and f"subnet/{subnet}" in refusal)
    assert is_refused is bool(refusal)


def test_whoever_drives_the_workspace_may_do_everything() -> None:
    """Tests and the workspace itself are nobody's function."""
    refusal, judging = judge(WORKSPACE_KEY, "DeleteItem", GRANT)

    assert (None, []) == (refusal, judging.refusals)


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        (["tests"], {}, True),
        (["tests/e2e"], {}, True),
        (["tests/unit", "tests/e2e"], {"ignore": ["tests/browser"]}, True),
        (["tests/unit"], {}, False),
        (["tests/e2e/test_flows.py"], {}, False),
        (["tests"], {"keyword": "journey"}, False),
        (["tests"], {"deselect": ["tests/e2e/test_demo.py::test_x"]}, False),
        (["tests"], {"ignore": ["tests/e2e"]}, False),
        (["tests"], {"ignore": ["tests/e2e/test_demo.py"]}, False),
        (["tests"], {"collectonly": True}, False),
    ],
)
def test_a_whole_run_is_one_that_leaves_nothing_out(args: list[str], options: dict[str, Any], expected: bool) -> None:
    """Anything less says nothing about calls that were not made."""
    config: Any = SimpleNamespace(
        args=args, option=SimpleNamespace(**OPTIONS | options), invocation_params=SimpleNamespace(dir=ROOT)
    )

    assert expected is is_whole(config)
