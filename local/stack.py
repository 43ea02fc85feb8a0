"""What a deployment's stack makes, of what people and functions meet by name: launch templates, documents, the workflow."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3

from chalicelib.domain.bastions import INSTANCE_TYPES, TAG
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.locations import MAIN_PROVISIONER, SessionDocument
from chalicelib.domain.session_documents import document_name, session_document
from local import seed
from local.lambdas import Handler
from local.ssm.documents import Document, own_document

STAGE, STACK = "local", "drawbridge-local"
ROUTED = ("ProvisionDatabaseUser", "RevokeAccess")  # of these each provisioner has its own
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"


def create_launch_templates(catalogue: Catalogue) -> None:
    """A launch template for each group of locations."""
    image = boto3.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
    plain = {"ImageId": image, "InstanceType": INSTANCE_TYPES[0], "MetadataOptions": {"HttpTokens": "required"}}
    ec2: Any = boto3.client("ec2")
    for group in catalogue.bastions:
        tags = [{"Key": TAG, "Value": group}, {"Key": "drawbridge:stage", "Value": STAGE}]
        made = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")]
        ec2.create_launch_template(
            LaunchTemplateName=f"{STACK}-{group}",
            LaunchTemplateData=plain | {"TagSpecifications": made},
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
        )


def session_documents(catalogue: Catalogue, host: str, port: int) -> Iterator[Document]:
    """The documents of the locations that have their own, all of which are in the one cluster."""
    for location in catalogue.locations.values():
        if location.document is SessionDocument.LOCATION:
            content = session_document(location, host=host, port=str(port))
            yield own_document(document_name(stage=STAGE, location=location.name), content)


def name_functions(functions: Mapping[str, Handler], catalogue: Catalogue) -> dict[str, Handler]:
    """The functions by the names that Lambda knows them by: logical ids, save where each provisioner has its own."""
    provisioners = {MAIN_PROVISIONER, *(group.provisioner for group in catalogue.bastions.values())}
    routed = {f"{STACK}-{each}-{name}": functions[name] for each in provisioners for name in ROUTED}
    return {name: handler for name, handler in functions.items() if name not in ROUTED} | routed


def create_state_machine() -> str:
    """The workflow from the very file that is deployed, each function's ARN filled in; returns its ARN."""
    text = (seed.ROOT / "statemachines" / "access_request.asl.json").read_text(encoding="utf-8")
    stepfunctions: Any = boto3.client("stepfunctions")
    return str(
        stepfunctions.create_state_machine(
            name=f"{STACK}-access-request",
            definition=filled_in(text),
            roleArn=f"arn:aws:iam::{seed.ACCOUNT}:role/workflow",
        )["stateMachineArn"]
    )


def filled_in(definition: str) -> str:
    """The definition with the ARN of each function of the local stack."""
    arn = f"arn:aws:lambda:{seed.REGION}:{seed.ACCOUNT}:function:"
    return re.sub(r"\$\{(\w+)Arn\}", arn + r"\1", definition.replace("${DatabaseFunctions}", arn + STACK))
