"""Which actions on which resources a call needs, operation by operation; with what AWS knows of them when it decides.

By the Service Authorization Reference (SAR) and, where an operation needs more than the action of its own name, by the page that
says so. An operation that is not listed here is one that the product never makes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from local.aws_calls import AwsCall
from tests.privileges.evaluator import Request

Flat = Mapping[str, Any]
_STAGE = "drawbridge:stage"
_KEY_CONDITION = re.compile(r"\s*\w+ = (:\w+)\s*")


class World(Protocol):
    """What AWS knows besides the call itself."""

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of ours."""

    def tags(self, resource_id: str) -> Mapping[str, str]:
        """The tags of an instance or launch template."""

    def find_template(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """The id of a launch template and what its default version says."""

    def subnet(self, subnet_id: str) -> str:
        """One name for every subnet of the catalogue; the others keep theirs."""

    def database(self) -> str:
        """The resource id of the cluster that people connect to."""


def requests_of(call: AwsCall, world: World) -> list[Request]:
    """What IAM is asked when the call is made. Raises KeyError, with service and operation, for one that is not listed."""
    return list(_NEEDS[call.service, call.operation](call.parameters, world))


def _on(action: str, service: str, resource: Callable[[Flat], str]) -> Callable[[Flat, World], Iterator[Request]]:
    return lambda given, world: iter([Request(action=action, resource=world.arn(service, resource(given)))])


def _anything(action: str) -> Callable[[Flat, World], Iterator[Request]]:
    return lambda *_: iter([Request(action=action)])


def _item(action: str, of: str) -> Callable[[Flat, World], Iterator[Request]]:
    return lambda given, world: iter([_on_items(action, given["TableName"], (given[of]["pk"]["S"],), world)])


def _on_items(action: str, table: str, keys: tuple[str, ...], world: World) -> Request:
    return Request(
        action=action, resource=world.arn("dynamodb", f"table/{table}"), context={"dynamodb:LeadingKeys": keys}
    )


def _query(given: Flat, world: World) -> Iterator[Request]:
    # Of an index, the first key is the index's own (DynamoDB guide, "Using IAM policy conditions").
    named = _KEY_CONDITION.fullmatch(given["KeyConditionExpression"])
    key = given["ExpressionAttributeValues"][named[1]]["S"] if named else ""
    index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
    yield _on_items("dynamodb:Query", given["TableName"] + index, (key,), world)


def _batch_get(given: Flat, world: World) -> Iterator[Request]:
    for table, asked in given["RequestItems"].items():
        keys = tuple(sorted({key["pk"]["S"] for key in asked["Keys"]}))
        yield _on_items("dynamodb:BatchGetItem", table, keys, world)


def _transact_write(given: Flat, world: World) -> Iterator[Request]:
    # Each write by the action of its own (DynamoDB guide, "Using IAM with DynamoDB transactions").
    for each in given["TransactItems"]:
        ((kind, write),) = each.items()
        yield from _NEEDS["dynamodb", f"{kind}Item"](write, world)


def _run_instances(given: Flat, world: World) -> Iterator[Request]:
    """Every resource that is used or made is asked about (EC2 guide, "Example policies": launch templates).

    IsLaunchTemplateResource is false for what the call says instead. The deployed templates name an instance profile, whose
    role is passed (SAR: dependent action), tag what they make (EC2 guide, "Tag resources during creation") and have their image
    looked up in a public parameter (EC2 guide, "Use a Systems Manager parameter instead of an AMI ID").
    """
    if "LaunchTemplate.LaunchTemplateName" not in given:
        yield Request(action="ec2:RunInstances", resource=world.arn("ec2", "instance/*"))
        return
    identifier, template = world.find_template(given["LaunchTemplate.LaunchTemplateName"])
    by_template = {"ec2:LaunchTemplate": (world.arn("ec2", f"launch-template/{identifier}"),)}

    def on(resource: str, *, overrides: str = "", **context: str) -> Request:
        is_own = not any(name.startswith(tuple(overrides.split())) for name in given) if overrides else True
        origin = {"ec2:IsLaunchTemplateResource": ("true" if is_own else "false",)}
        return Request(
            action="ec2:RunInstances",
            resource=world.arn("ec2", resource),
            context=by_template | origin | {name: (value,) for name, value in context.items()},
        )

    kind = given.get("InstanceType", template.get("InstanceType", ""))
    yield on(f"launch-template/{identifier}", **_tagged("aws:ResourceTag", world.tags(identifier)))
    yield on("instance/*", overrides="InstanceType", **{"ec2:InstanceType": kind})
    yield on("image/*", overrides="ImageId")
    yield on("volume/*", overrides="BlockDeviceMapping")
    yield on("security-group/*", overrides="SecurityGroup NetworkInterface")
    yield on("network-interface/*", overrides="SubnetId NetworkInterface")
    if subnet := given.get("SubnetId"):
        yield on(f"subnet/{world.subnet(subnet)}", overrides="SubnetId")
    role = world.arn("iam", "role/" + given.get("IamInstanceProfile.Name", "BastionRole"))
    yield Request(action="iam:PassRole", resource=role, context={"iam:PassedToService": ("ec2.amazonaws.com",)})
    tagged = {each["ResourceType"] for each in template.get("TagSpecifications", [])}
    for made in sorted(tagged & {"instance", "volume"}):  # moto keeps the template's own tags there, too
        context = {"ec2:CreateAction": ("RunInstances",)}
        yield Request(action="ec2:CreateTags", resource=world.arn("ec2", f"{made}/*"), context=context)
    yield Request(action="ssm:GetParameters", resource=world.arn("ssm", "public parameter"))


def _tagged(key: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{key}/{_STAGE}": tags[_STAGE]} if _STAGE in tags else {}


def _instances(action: str, key: str = "aws:ResourceTag") -> Callable[[Flat, World], Iterator[Request]]:
    def needs(given: Flat, world: World) -> Iterator[Request]:
        named = [value for name, value in given.items() if name == "Target" or name.startswith("InstanceId.")]
        for each in named:
            context = {name: (value,) for name, value in _tagged(key, world.tags(each)).items()}
            yield Request(action=action, resource=world.arn("ec2", f"instance/{each}"), context=context)

    return needs


def _start_session(given: Flat, world: World) -> Iterator[Request]:
    # Both the instance and the document (SAR); the access check is part of every answer.
    checked = {"ssm:SessionDocumentAccessCheck": ("true",)}
    for request in _instances("ssm:StartSession", "ssm:resourceTag")(given, world):
        yield Request(action=request.action, resource=request.resource, context={**request.context, **checked})
    name = given.get("DocumentName", "SSM-SessionManagerRunShell")
    kind = "public document" if name.startswith("AWS-") else "document"
    yield Request(action="ssm:StartSession", resource=world.arn("ssm", f"{kind}/{name}"), context=checked)


def _session(action: str) -> Callable[[Flat, World], Iterator[Request]]:
    def needs(given: Flat, world: World) -> Iterator[Request]:
        session_id = str(given["SessionId"])
        owner = f"AROAEXAMPLE:{session_id.rpartition('-')[0]}"  # AWS tags a session with whose it is
        tag = {"ssm:resourceTag/aws:ssmmessages:session-id": (owner,)}
        yield Request(action=action, resource=world.arn("ssm", f"session/{session_id}"), context=tag)

    return needs


def _connect(given: Flat, world: World) -> Iterator[Request]:
    resource = world.arn("rds-db", f"dbuser:{world.database()}/{given['DBUser']}")
    yield Request(action="rds-db:connect", resource=resource)


def _stream(given: Flat) -> str:
    return f"log-group:{given['logGroupName']}:log-stream:{given['logStreamName']}"


_NEEDS: dict[tuple[str, str], Callable[[Flat, World], Iterator[Request]]] = {
    ("dynamodb", "GetItem"): _item("dynamodb:GetItem", "Key"),
    ("dynamodb", "PutItem"): _item("dynamodb:PutItem", "Item"),
    ("dynamodb", "UpdateItem"): _item("dynamodb:UpdateItem", "Key"),
    ("dynamodb", "DeleteItem"): _item("dynamodb:DeleteItem", "Key"),
    ("dynamodb", "Query"): _query,
    ("dynamodb", "BatchGetItem"): _batch_get,
    ("dynamodb", "TransactWriteItems"): _transact_write,
    # SAR names no resource for SendTaskSuccess, but what AWS asks about, and says in its refusals, is the state machine.
    ("states", "SendTaskSuccess"): lambda _, world: iter(
        [Request(action="states:SendTaskSuccess", resource=world.arn("states", "stateMachine"))]
    ),
    ("states", "StartExecution"): lambda given, _: iter(
        [Request(action="states:StartExecution", resource=given["stateMachineArn"])]
    ),
    ("states", "ListExecutions"): lambda given, _: iter(
        [Request(action="states:ListExecutions", resource=given["stateMachineArn"])]
    ),
    ("states", "DescribeExecution"): lambda given, _: iter(
        [Request(action="states:DescribeExecution", resource=given["executionArn"])]
    ),
    ("lambda", "Invoke"): _on("lambda:InvokeFunction", "lambda", lambda given: "function:" + given["FunctionName"]),
    ("secretsmanager", "GetSecretValue"): _on(
        "secretsmanager:GetSecretValue", "secretsmanager", lambda given: "secret:" + given["SecretId"]
    ),
    ("logs", "PutLogEvents"): _on("logs:PutLogEvents", "logs", _stream),
    ("logs", "CreateLogStream"): _on("logs:CreateLogStream", "logs", _stream),
    ("ec2", "RunInstances"): _run_instances,
    ("ec2", "DescribeInstances"): _anything("ec2:DescribeInstances"),
    ("ec2", "RebootInstances"): _instances("ec2:RebootInstances"),
    ("ec2", "StartInstances"): _instances("ec2:StartInstances"),
    ("ec2", "StopInstances"): _instances("ec2:StopInstances"),
    ("ec2", "TerminateInstances"): _instances("ec2:TerminateInstances"),
    ("ssm", "DescribeInstanceInformation"): _anything("ssm:DescribeInstanceInformation"),
    ("ssm", "DescribeSessions"): _anything("ssm:DescribeSessions"),
    ("ssm", "GetConnectionStatus"): _instances("ssm:GetConnectionStatus", "ssm:resourceTag"),
    ("ssm", "StartSession"): _start_session,
    ("ssm", "TerminateSession"): _session("ssm:TerminateSession"),
    ("ssm", "ResumeSession"): _session("ssm:ResumeSession"),
    ("rds", "DescribeDBClusters"): _on(
        "rds:DescribeDBClusters", "rds", lambda given: "cluster:" + given.get("DBClusterIdentifier", "*")
    ),
    ("rds", "DescribeDBInstances"): _on(
        "rds:DescribeDBInstances", "rds", lambda given: "db:" + given.get("DBInstanceIdentifier", "*")
    ),
    ("rds-db", "connect"): _connect,
    ("execute-api", "Invoke"): _on("execute-api:Invoke", "execute-api", lambda given: given["Resource"]),
    # Asks for no right (SAR names none that could be denied).
    ("sts", "GetCallerIdentity"): lambda *_: iter(()),
}
