"""What moto's CloudFormation lacks for a deployment that is looked at afterwards, put in place as CloudFormation has it.

A change set that is carried out leaves outputs, parameters and an event for each resource, and a secret is a resource. What moto
cannot make is listed in ``GAPS`` and has to be taken out of a template before.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moto.cloudformation import models, parsing
from moto.core.common_models import CloudFormationModel
from moto.s3.models import FakeBucket
from moto.secretsmanager.models import secretsmanager_backends
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local.strict_asl import installed

GAPS: Mapping[str, str] = {
    "AWS::ApiGateway::Deployment": "moto reads no Body, so that its REST API has no method to deploy",
    "AWS::ApiGateway::Stage": "has no deployment",
    "AWS::CloudWatch::Alarm": "passed over",
    "AWS::Lambda::EventInvokeConfig": "passed over",
    "AWS::Logs::MetricFilter": "passed over",
    "AWS::Logs::QueryDefinition": "passed over",
}
"""Types of the stack that moto's CloudFormation does not make, and why."""

_execute = models.CloudFormationBackend.execute_change_set
_list = models.CloudFormationBackend.list_stack_resources
_permission = FakeBucket.get_permission


class Secret(CloudFormationModel):  # type: ignore[misc]  # moto's bases are untyped
    """A secret without a value. What it is called in CloudFormation is its ARN."""

    def __init__(self, arn: str) -> None:
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SecretsManager::Secret"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> "Secret":
        secret, _is_new = secretsmanager_backends[account_id][region_name]._add_secret(
            cloudformation_json["Properties"]["Name"]
        )
        return cls(secret.arn)

    @classmethod
    def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any) -> None:
        """CloudFormation takes a secret that is gone already as deleted."""


def _carry_out(backend: Any, change_set_name: str, stack_name: str | None = None) -> None:
    change_set = backend.describe_change_set(change_set_name)
    stack = backend.stacks[change_set.stack_id]
    verb = {"Add": "CREATE", "Modify": "UPDATE", "Remove": "DELETE"}
    _execute(backend, change_set_name, stack_name)
    stack.template_dict, stack.parameters = change_set.template_dict, change_set.parameters
    stack.output_map = stack._create_output_map()
    last = stack.events.pop()
    for change in change_set.changes:
        stack.events.append(
            models.Event(
                stack_id=stack.stack_id,
                stack_name=stack.name,
                logical_resource_id=change.logical_resource_id,
                physical_resource_id=change.logical_resource_id,
                resource_type=change.resource_type,
                resource_status=f"{verb[change.action]}_COMPLETE",
                resource_status_reason=None,
                resource_properties=None,
            )
        )
    stack.events.append(last)


def _list_resources(backend: Any, stack_name_or_id: str) -> Any:
    """Without what a condition has kept from being made."""
    stack, resources = _list(backend, stack_name_or_id)
    return stack, [each for each in resources if each is not None]


def _create_workflow(_: Any, __: str, asked: Any, account_id: str, region_name: str, **___: Any) -> Any:
    """Where executions are carried out, with the definition's substitutions; moto knows neither."""
    properties = asked["Properties"]
    return stepfunctions_parser_backends[account_id][region_name].create_state_machine(
        name=properties["StateMachineName"], definition=_definition(properties), roleArn=properties["RoleArn"], tags=[]
    )


def _update_workflow(_: Any, standing: Any, __: str, asked: Any, account_id: str, region_name: str) -> Any:
    return stepfunctions_parser_backends[account_id][region_name].update_state_machine(
        standing.arn, definition=_definition(asked["Properties"])
    )


def _delete_workflow(_: Any, arn: str, __: Any, account_id: str, region_name: str) -> None:
    stepfunctions_parser_backends[account_id][region_name].delete_state_machine(arn)


def _definition(properties: Mapping[str, Any]) -> str:
    given = properties.get("DefinitionSubstitutions", {})
    return re.sub(r"\$\{(\w+)\}", lambda found: str(given[found[1]]), properties["DefinitionString"])


def _get_permission(bucket: Any, action: str, resource: str) -> Any:
    """Moto takes a statement with a Condition as one without: TLS alone would become nothing at all."""
    policy = bucket.policy
    statements = json.loads(policy)["Statement"] if policy else []
    kept = [each for each in statements if "Condition" not in each]
    try:
        bucket.policy = json.dumps({"Version": "2012-10-17", "Statement": kept}).encode() if kept else None
        return _permission(bucket, action, resource)
    finally:
        bucket.policy = policy


@contextmanager
def complete_cloudformation() -> Iterator[None]:
    """With these in place."""
    for known in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        known.cache_clear()
    mends: list[tuple[Any, str, Any]] = [
        (models.CloudFormationBackend, "execute_change_set", _carry_out),
        (models.CloudFormationBackend, "list_stack_resources", _list_resources),
        (FakeBucket, "get_permission", _get_permission),
        (StateMachine, "create_from_cloudformation_json", classmethod(_create_workflow)),
        (StateMachine, "update_from_cloudformation_json", classmethod(_update_workflow)),
        (StateMachine, "delete_from_cloudformation_json", classmethod(_delete_workflow)),
    ]
    with installed(mends):
        yield


def without_gaps(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template without what moto cannot make. It knows one way of keeping: for a stack that was made, both are the same."""
    kept = {name: each for name, each in template["Resources"].items() if each["Type"] not in GAPS}
    told = {
        name: each | {"DeletionPolicy": "Retain"} if each.get("DeletionPolicy") == "RetainExceptOnCreate" else each
        for name, each in kept.items()
    }
    return {**template, "Resources": told}
