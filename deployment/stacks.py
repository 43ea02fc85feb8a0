"""CloudFormation as the operator meets it: what would change, the change and its progress, the first failure's reason."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from deployment.account import Account, DeploymentError, explained
from deployment.bastion_network import STAGE_TAG

_POLL_SECONDS = 3.0
_PREPARATION_SECONDS = 600
_CHANGE_SECONDS = 3600
"""The network interfaces of functions in a VPC may take forty minutes to go (Lambda guide: Configuring VPC access)."""
_NOTHING = ("didn't contain changes", "No updates are to be performed")
_KEPT = {"Retain", "RetainExceptOnCreate"}
_CONSEQUENCE = "cancelled"  # "Resource creation cancelled": something else failed before

Say = Callable[[str], None]
Pause = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as it stands. ``resources`` maps logical to physical ids."""

    name: str
    id: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    resources: Mapping[str, "Resource"] = field(default_factory=dict)

    def find_physical(self, logical_id: str) -> str | None:
        """The id that AWS gave to a resource."""
        found = self.resources.get(logical_id)
        return found.physical_id if found else None

    @property
    def is_standing(self) -> bool:
        """Did its last change reach its end, or was it wholly undone?"""
        return self.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}

    @property
    def is_changing(self) -> bool:
        """Is somebody changing it now?"""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of a stack."""

    logical_id: str
    physical_id: str
    kind: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would happen to one resource."""

    logical_id: str
    kind: str
    action: str
    is_replaced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployable:
    """Everything a stack is made from."""

    name: str
    stage: str
    template_url: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """A change that is prepared and not carried out."""

    id: str
    stack: str
    is_first: bool
    changes: Sequence[Change]


class Stacks:
    """The stacks of an account and region. Every method raises DeploymentError."""

    def __init__(self, account: Account, *, say: Say, pause: Pause) -> None:
        self._cloudformation = account.client("cloudformation")
        self._say = say
        self._pause = pause

    def find(self, name: str) -> Stack | None:
        """The stack of that name or id with its resources; None when there is none."""
        with explained(f"describe the stack {name}"):
            found = self._find(name)
            if found is None or found["StackStatus"] == "DELETE_COMPLETE":
                return None
            pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=found["StackId"])
            resources = [_resource(each) for page in pages for each in page["StackResourceSummaries"]]
        return _stack(found, {each.logical_id: each for each in resources if each.status != "DELETE_COMPLETE"})

    def find_kept(self, stack: Stack) -> list[Resource]:
        """The resources that deleting the stack would leave behind, by its own template."""
        if not stack.resources:
            return []
        with explained(f"read the template of {stack.name}"):
            found = self._cloudformation.get_template(StackName=stack.id, TemplateStage="Processed")["TemplateBody"]
        template = json.loads(found) if isinstance(found, str) else found
        kept = {name for name, each in template["Resources"].items() if each.get("DeletionPolicy") in _KEPT}
        return [each for name, each in stack.resources.items() if name in kept]

    def of_stage(self, stage: str) -> list[Stack]:
        """The stage's stacks, without their resources; the spokes before the main one."""
        with explained("list the stacks"):
            pages = self._cloudformation.get_paginator("describe_stacks").paginate()
            found = [_stack(each, {}) for page in pages for each in page["Stacks"]]
        ours = [
            each for each in found if each.tags.get(STAGE_TAG) == stage and each.name.startswith(f"drawbridge-{stage}")
        ]
        return sorted(ours, key=lambda each: (each.name == f"drawbridge-{stage}", each.name))

    def prepare(self, wanted: Deployable, standing: Stack | None) -> ChangeSet | None:
        """A change set, ready to be carried out; None when nothing would change."""
        if standing is not None:
            _require_changeable(standing)
        is_first = standing is None or standing.status == "REVIEW_IN_PROGRESS"
        with explained(f"prepare the change of {wanted.name}"):
            made = self._cloudformation.create_change_set(
                StackName=wanted.name,
                ChangeSetName=f"deploy-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
                ChangeSetType="CREATE" if is_first else "UPDATE",
                TemplateURL=wanted.template_url,
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(wanted.parameters.items())
                ],
                Tags=[{"Key": STAGE_TAG, "Value": wanted.stage}],
            )
            described = self._await_change_set(made["Id"])
            if described["Status"] == "FAILED":
                reason = described.get("StatusReason", "")
                self._cloudformation.delete_change_set(ChangeSetName=made["Id"])
                if any(words in reason for words in _NOTHING):
                    return None
                raise DeploymentError(f"CloudFormation will not change {wanted.name}: {reason} Nothing was changed.")
            return ChangeSet(
                id=made["Id"], stack=made["StackId"], is_first=is_first, changes=list(self._changes(made["Id"]))
            )

    def drop(self, change_set: ChangeSet) -> None:
        """Forget a change that is not wanted; a stack that would have been new is as if never named."""
        with explained("drop the prepared change"):
            if change_set.is_first:
                self._cloudformation.delete_stack(StackName=change_set.stack)
            else:
                self._cloudformation.delete_change_set(ChangeSetName=change_set.id)

    def carry_out(self, change_set: ChangeSet) -> Stack:
        """Change the stack, say which resources are done, and return it as it is then."""
        with explained("carry out the change"):
            seen = self._last_event(change_set.stack)
            self._cloudformation.execute_change_set(ChangeSetName=change_set.id)
            status = self._follow(change_set.stack, seen, total=len(change_set.changes))
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise DeploymentError(self._explain_failure(change_set.stack, seen, status))
        standing = self.find(change_set.stack)
        if standing is None:
            raise DeploymentError("The stack was deleted by somebody else meanwhile. Deploy it again.")
        return standing

    def delete(self, stack: Stack) -> None:
        """Delete a stack and wait until it is gone."""
        with explained(f"delete the stack {stack.name}"):
            seen = self._last_event(stack.id)
            self._cloudformation.delete_stack(StackName=stack.id)
            status = self._follow(stack.id, seen, total=len(stack.resources))
        if status != "DELETE_COMPLETE":
            raise DeploymentError(self._explain_failure(stack.id, seen, status))

    def _find(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return found

    def _await_change_set(self, change_set_id: str) -> dict[str, Any]:
        for _ in self._turns(_PREPARATION_SECONDS):
            described: dict[str, Any] = self._cloudformation.describe_change_set(ChangeSetName=change_set_id)
            if described["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                return described
        raise DeploymentError(f"CloudFormation did not prepare the change within {_PREPARATION_SECONDS} s. Try again.")

    def _changes(self, change_set_id: str) -> Iterator[Change]:
        pages = self._cloudformation.get_paginator("describe_change_set").paginate(ChangeSetName=change_set_id)
        for page in pages:
            for each in page["Changes"]:
                changed = each["ResourceChange"]
                yield Change(
                    logical_id=changed["LogicalResourceId"],
                    kind=changed["ResourceType"],
                    action=changed["Action"],
                    is_replaced=changed.get("Replacement") in {"True", "Conditional"},
                )

    def _follow(self, stack_id: str, seen: str, *, total: int) -> str:
        """Say each resource that is done, until the stack is; returns the stack's status then."""
        done: set[str] = set()
        told = seen
        for _ in self._turns(_CHANGE_SECONDS):
            status = str((self._find(stack_id) or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"])
            events = self._events_after(stack_id, told)
            for event in events:
                told = event["EventId"]
                if event["LogicalResourceId"] in done or not _is_progress(event):
                    continue
                done.add(event["LogicalResourceId"])
                of = f"{len(done):>3}/{max(total, len(done))}"
                self._say(f"  {of}  {event['LogicalResourceId']}  {event['ResourceType']}  {_word(event)}")
            if not status.endswith("_IN_PROGRESS"):
                return status
        raise DeploymentError(
            f"CloudFormation is still at it after {_CHANGE_SECONDS // 60} minutes, and goes on by itself. "
            "Look at the stack's events in the console; run this again when it is done."
        )

    def _turns(self, seconds: float) -> Iterator[None]:
        for _ in range(int(seconds / _POLL_SECONDS)):
            yield
            self._pause(_POLL_SECONDS)

    def _last_event(self, stack_id: str) -> str:
        events = self._cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
        return str(events[0]["EventId"]) if events else ""

    def _events_after(self, stack_id: str, seen: str) -> list[dict[str, Any]]:
        """Oldest first."""
        newer: list[dict[str, Any]] = []
        for page in self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            for event in page["StackEvents"]:
                if event["EventId"] == seen:
                    return newer[::-1]
                newer.append(event)
        return newer[::-1]

    def _explain_failure(self, stack_id: str, seen: str, status: str) -> str:
        with explained("tell what failed"):
            events = self._events_after(stack_id, seen)
        failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        causes = [event for event in failed if _CONSEQUENCE not in event.get("ResourceStatusReason", "").lower()]
        first = next(iter(causes or failed), None)
        cause = (
            f"{first['LogicalResourceId']} ({first['ResourceType']}): {first.get('ResourceStatusReason', 'no reason given')}"
            if first
            else "CloudFormation names no resource."
        )
        return f"It failed, at {cause}\nThe stack is {status}. {_advice(status)}"


def _require_changeable(stack: Stack) -> None:
    if not (stack.is_standing or stack.status == "REVIEW_IN_PROGRESS"):
        raise DeploymentError(f"The stack {stack.name} is {stack.status}. {_advice(stack.status)} Nothing was changed.")


def _advice(status: str) -> str:
    if status.endswith("_IN_PROGRESS"):
        return "Somebody is changing it: run this again when that is over."
    if status == "UPDATE_ROLLBACK_FAILED":
        return "Choose 'Continue update rollback' in the CloudFormation console, then deploy again."
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return "It is as it was before. Repair the cause and deploy again."
    if status == "DELETE_FAILED":
        return "Repair the cause and destroy it again."
    return "It was never whole and holds nobody's access. Destroy it, repair the cause, and deploy again."


def _is_progress(event: Mapping[str, Any]) -> bool:
    status = str(event["ResourceStatus"])
    is_itself = event.get("PhysicalResourceId") == event["StackId"]
    is_step = status.endswith(("_COMPLETE", "_FAILED", "_SKIPPED"))
    return is_step and not is_itself and "CLEANUP" not in status


def _word(event: Mapping[str, Any]) -> str:
    words = {"CREATE": "made", "UPDATE": "changed", "DELETE": "removed", "IMPORT": "taken over"}
    verb, _, outcome = str(event["ResourceStatus"]).partition("_")
    reason = f": {event.get('ResourceStatusReason', '')}"
    return {"COMPLETE": words.get(verb, verb), "SKIPPED": "kept"}.get(outcome, f"{outcome.lower()}{reason}")


def _resource(found: Mapping[str, Any]) -> Resource:
    return Resource(
        logical_id=found["LogicalResourceId"],
        physical_id=found.get("PhysicalResourceId", ""),
        kind=found["ResourceType"],
        status=found["ResourceStatus"],
    )


def _stack(found: Mapping[str, Any], resources: Mapping[str, Resource]) -> Stack:
    return Stack(
        name=found["StackName"],
        id=found["StackId"],
        status=found["StackStatus"],
        outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
        parameters={each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])},
        tags={each["Key"]: each["Value"] for each in found.get("Tags", [])},
        resources=resources,
    )
