"""The local workspace as the policies see it: what their names stand for, and what AWS knows of the things in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends

from deployment.user_policy import user_policy
from local import seed
from local.api_gateway import API_ID
from local.stack import IMAGE, STACK, STAGE
from tests.privileges.evaluator import Statement, read_policy, resolve

ROOT = Path(__file__).parents[2]
AUDIT_LOG = "drawbridge-audit"
DATABASES = ({"Region": seed.REGION, "ResourceId": "cluster-LOCAL", "Kind": "cluster", "Identifier": seed.CLUSTER},)
OUR_SUBNET = "subnet-of-the-catalogue"
EACH = {"Drawbridge::EachDatabase": DATABASES, "Drawbridge::EachSubnet": ({"Subnet": OUR_SUBNET},)}
FUNCTIONS = tuple(
    json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))["stages"]["prod"]["lambda_functions"]
)


def arn_of(service: str, resource: str) -> str:
    """The ARN of something in the workspace. What AWS publishes for everybody has no account."""
    account = "" if resource.startswith(("public ", "image/")) else seed.ACCOUNT
    region = "" if service == "iam" else seed.REGION
    name = resource.removeprefix("public ")
    return f"arn:aws:{service}:{region}:{account}:{name}"


def logical_id(function: str) -> str:
    """As Chalice names a function in the stack, by its name in the configuration."""
    return "APIHandler" if function == "api_handler" else function.title().replace("_", "")


NAMES: Mapping[str, str] = {
    "AWS::Partition": "aws",
    "AWS::Region": seed.REGION,
    "AWS::AccountId": seed.ACCOUNT,
    "Stage": STAGE,
    "Ledger.Arn": arn_of("dynamodb", f"table/{seed.TABLE}"),
    "SlackSecret": arn_of("secretsmanager", f"secret:{seed.SECRET}"),
    "IssueToken.Arn": arn_of("lambda", "function:IssueToken"),
    "RestAPI": API_ID,
    "BastionRole.Arn": arn_of("iam", "role/BastionRole"),
    "AuditLog.Arn": arn_of("logs", f"log-group:{AUDIT_LOG}:*"),
    **{f"{logical_id(each)}LogGroup.Arn": arn_of("logs", f"log-group:{logical_id(each)}:*") for each in FUNCTIONS},
}


def read_document(function: str) -> dict[str, Any]:
    """The policy's file of a function, as it is written."""
    document: dict[str, Any] = json.loads((ROOT / ".chalice" / f"policy-{function}.json").read_text(encoding="utf-8"))
    return document


def policy_of(document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """A policy with this workspace's names in it."""
    return read_policy(resolve(document, NAMES, EACH))


def user_statements() -> tuple[Statement, ...]:
    """What people's own AWS identities may do: one of the workspace's locations uses the document that AWS owns."""
    return policy_of(user_policy(STAGE, uses_aws_document=True))


class LocalWorld:
    """AWS's knowledge of the workspace that runs in this process."""

    def arn(self, service: str, resource: str) -> str:
        if resource == "stateMachine":
            return arn_of(service, f"stateMachine:{STACK}-access-request")
        if resource == "public parameter":
            return arn_of(service, f"public parameter{IMAGE}")
        return arn_of(service, resource)

    def tags(self, resource_id: str) -> Mapping[str, str]:
        return dict(_ec2().tags.get(resource_id, {}))

    def find_template(self, name: str) -> tuple[str, Mapping[str, Any]]:
        identifier = _ec2().launch_template_name_to_ids.get(name)
        if identifier is None:
            return "lt-unknown", {}
        return identifier, _ec2().launch_templates[identifier].default_version().data

    def subnet(self, subnet_id: str) -> str:
        default = _ec2().get_default_vpc()
        ours = {name for zone in _ec2().subnets.values() for name, each in zone.items() if each.vpc_id != default.id}
        return OUR_SUBNET if subnet_id in ours else subnet_id

    def database(self) -> str:
        return DATABASES[0]["ResourceId"]


def _ec2() -> Any:
    return ec2_backends[seed.ACCOUNT][seed.REGION]
