"""Destroy a stage: list what goes, end every access with its receipt or stop, then remove everything the stage made.

The main stack is the list of what there is, so it goes last: what it would keep (ledger, secret, logs) goes before it, and a run
that was interrupted is completed by the next.
"""

import argparse
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code
from chalicelib.domain.grants import Grant
from deployment.account import Account, DeploymentError, explained, find_account, find_configured_region
from deployment.artifacts import Artifacts
from deployment.aws_findings import find_policy_holders
from deployment.bastion_network import STAGE_TAG
from deployment.catalogue_file import add_locations_argument, read_catalogue
from deployment.ending import Ending, Workflow, explain_missing
from deployment.grants import describe, find_table, open_grants
from deployment.prompts import Terminal
from deployment.stacks import Pause, Stack, Stacks
from deployment.stage import find_home, stack_name

_FRONT, _WORKFLOW, _USER_POLICY = "APIHandler", "Workflow", "UserPolicy"
_TABLE, _SECRET, _LOGS = "AWS::DynamoDB::Table", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"
_RECEIPT_MINUTES = 20
"""An order that was never answered may still commit for fifteen minutes, and no receipt is final before."""
_TERMINATION_SECONDS = 600
_POLL_SECONDS = 5.0
_ALIVE = ["pending", "running", "stopping", "stopped", "shutting-down"]
EXIT_STATUS = (
    "Exit status: 0 destroyed, or there was nothing; 1 stopped, with what is left and what to do; 130 ended by Ctrl-C. "
    "Run it again: it completes what was begun."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.epilog = EXIT_STATUS
    parser.add_argument("--stage", required=True, metavar="STAGE", help="which deployment")
    parser.add_argument("--region", default="", metavar="REGION", help="where it is; else the catalogue's, else yours")
    add_locations_argument(parser, more="; it says the region")
    parser.add_argument(
        "--receipts-within",
        type=int,
        default=_RECEIPT_MINUTES,
        metavar="MINUTES",
        help="how long to wait for the receipts of what is live (%(default)s)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for the stage's name")


def destroy(given: argparse.Namespace) -> int:
    """Destroy what the stage made. Returns the exit status; raises AccessError with what is left."""
    return Destruction(given, terminal=Terminal(), pause=threading.Event().wait, clock=lambda: datetime.now(UTC)).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of a stage. ``stacks`` come with their resources, the main one last."""

    stacks: Sequence[Stack]
    bastions: Sequence[str]
    artifacts: Sequence[str]
    grants: Sequence[Grant]

    @property
    def is_nothing(self) -> bool:
        """Is there nothing to destroy?"""
        return not (self.stacks or self.bastions or self.artifacts)


class Destruction:
    """One run of the verb."""

    def __init__(
        self, given: argparse.Namespace, *, terminal: Terminal, pause: Pause, clock: Callable[[], datetime]
    ) -> None:
        self._given = given
        self._terminal = terminal
        self._pause = pause
        self._clock = clock
        self._state = "Nothing was destroyed."

    def run(self) -> int:
        """Returns the exit status. Ctrl-C leaves a sentence about what is as it was."""
        return self._terminal.until_interrupted(self._run, state=lambda: self._state)

    def _run(self) -> int:
        stage = self._given.stage
        account = self._find_account()
        self._account = account
        self._stacks = Stacks(account, say=self._terminal.say, pause=self._pause)
        self._artifacts = Artifacts(account, stage)
        remains = self._find_remains()
        if remains.is_nothing:
            self._terminal.say(
                f"There is nothing of a stage '{stage}' in account {account.number}, {account.region}. "
                "If it is in another region, name it with --region."
            )
            return 0
        self._terminal.say(f"Destroying the stage '{stage}' in account {account.number}, {account.region}:\n")
        self._terminal.say(_describe(remains, self._given.stage))
        main = next((each for each in remains.stacks if each.name == stack_name(stage)), None)
        self._refuse_hindrances(remains.stacks)
        self._refuse_held_policy(main)
        if not self._is_agreed():
            return 1
        self._end_access(main)
        self._state = f"What was begun is completed by: python -m deployment destroy --stage {stage}"
        self._terminate_bastions()
        for stack in remains.stacks:
            self._terminal.say("")
            self._remove_kept(stack)
            self._terminal.say(f"Deleting {stack.name}; a function's network interfaces may take half an hour to go:")
            self._stacks.delete(stack)
        self._artifacts.remove(self._artifacts.keys())
        is_gone = self._artifacts.remove_empty_bucket()
        self._terminal.say(
            f"\nThe stage '{stage}' is gone. "
            + ("Its bucket too." if is_gone else f"The bucket {self._artifacts.bucket} stays: other stages use it.")
            + "\nWhat only you can remove: the app, at https://api.slack.com/apps; the login that each database's owner made: "
            "DROP ROLE drawbridge, after DROP OWNED BY drawbridge in each of its databases."
        )
        return 0

    def _find_account(self) -> Account:
        if self._given.region:
            return find_account(self._given.region)
        if self._given.locations:
            return find_home(read_catalogue(self._given.locations))
        region = find_configured_region()
        if region is None:
            raise DeploymentError("In which region? Say --region, or name the catalogue with --locations.")
        return find_account(region)

    def _find_remains(self) -> Remains:
        found = [self._stacks.find(each.id) for each in self._stacks.of_stage(self._given.stage)]
        stacks = [each for each in found if each is not None]
        main = next((each for each in stacks if each.name == stack_name(self._given.stage)), None)
        table = self._find_standing_table(main)
        return Remains(
            stacks=stacks,
            bastions=self._find_bastions(_ALIVE),
            artifacts=self._artifacts.keys(),
            grants=open_grants(self._account, table) if table else (),
        )

    def _find_standing_table(self, main: Stack | None) -> str | None:
        """The ledger, unless an earlier run has removed it, which is done after the last receipt."""
        table = find_table(main)
        if table is None:
            return None
        try:
            with explained("describe the ledger"):
                found = self._account.client("dynamodb").describe_table(TableName=table)
        except DeploymentError as error:
            if _is_absent(error.__cause__):
                return None
            raise
        return None if found["Table"]["TableStatus"] == "DELETING" else table

    def _refuse_hindrances(self, stacks: Sequence[Stack]) -> None:
        """What would stop it halfway, after everybody's access is gone."""
        for stack in stacks:
            if stack.is_changing and stack.status != "DELETE_IN_PROGRESS":
                raise DeploymentError(
                    f"{stack.name} is being changed. Destroy it when that is over. Nothing was destroyed."
                )
            for kept in self._stacks.find_kept(stack):
                if kept.kind not in _REMOVERS:
                    raise DeploymentError(
                        f"Deleting {stack.name} would leave {kept.logical_id} ({kept.kind}) behind, and this program cannot "
                        "remove it. Remove it by hand first. Nothing was destroyed."
                    )

    def _refuse_held_policy(self, main: Stack | None) -> None:
        arn = main.find_physical(_USER_POLICY) if main else None
        if arn is None:
            return
        try:
            holders = find_policy_holders(self._account.client("iam"), arn)
        except DeploymentError as error:
            if _is_absent(error.__cause__):
                return
            raise
        if holders:
            raise DeploymentError(
                f"{arn.rpartition('/')[2]} is attached to {', '.join(holders)}, and AWS deletes no policy that somebody holds. "
                "Detach it (a permission set's: in IAM Identity Center), then destroy again. Nothing was destroyed."
            )

    def _is_agreed(self) -> bool:
        if self._given.yes:
            return True
        if not self._terminal.is_there:
            self._terminal.say("\nThere is no terminal to ask on. To destroy it without being asked, add --yes.")
            return False
        if self._terminal.ask("\nType the stage's name to destroy all of this:") == self._given.stage:
            return True
        self._terminal.say("That is not its name. Nothing was destroyed.")
        return False

    def _end_access(self, main: Stack | None) -> None:
        table, machine = self._find_standing_table(main), main.find_physical(_WORKFLOW) if main else None
        if main is None or table is None:
            return
        if machine is None or not self._is_there(machine):
            if left := open_grants(self._account, table):
                raise DeploymentError(f"The workflow that ends access is gone. {explain_missing(left)}")
            return
        self._terminal.say("\nEnding every access, each with its receipt:")
        workflow = Workflow(account=self._account, table=table, state_machine=machine, front=main.find_physical(_FRONT))
        ending = Ending(workflow, say=self._terminal.say, pause=self._pause, clock=self._clock)
        self._state = "Nothing was destroyed. Whose end was asked for is losing access now; Slack is answered again."
        with ending.closed_front():
            if left := ending.end_all(seconds=60 * self._given.receipts_within):
                raise DeploymentError(explain_missing(left))
        ending.stop_the_rest()
        ended = f"{ending.receipts} ended, no receipt is missing" if ending.receipts else "nobody has any"
        self._terminal.say(f"  {ended}")

    def _is_there(self, machine: str) -> bool:
        try:
            with explained("describe the workflow"):
                found = self._account.client("stepfunctions").describe_state_machine(stateMachineArn=machine)
        except DeploymentError as error:
            if _is_absent(error.__cause__):
                return False
            raise
        return str(found["status"]) == "ACTIVE"

    def _find_bastions(self, states: Sequence[str]) -> list[str]:
        filters = {f"tag:{STAGE_TAG}": [self._given.stage], "instance-state-name": list(states)}
        with explained("describe the bastions"):
            pages = (
                self._account.client("ec2")
                .get_paginator("describe_instances")
                .paginate(Filters=[{"Name": name, "Values": values} for name, values in filters.items()])
            )
            return [each["InstanceId"] for page in pages for one in page["Reservations"] for each in one["Instances"]]

    def _terminate_bastions(self) -> None:
        bastions = self._find_bastions(_ALIVE)
        if not bastions:
            return
        self._terminal.say(f"\nTerminating {', '.join(bastions)}")
        with explained("terminate the bastions"):
            self._account.client("ec2").terminate_instances(InstanceIds=bastions)
        for _ in range(int(_TERMINATION_SECONDS / _POLL_SECONDS)):
            if not self._find_bastions(_ALIVE):
                return
            self._pause(_POLL_SECONDS)
        raise DeploymentError(
            f"{', '.join(bastions)} did not terminate within {_TERMINATION_SECONDS // 60} minutes. Destroy again later."
        )

    def _remove_kept(self, stack: Stack) -> None:
        """Remove what deleting the stack would leave, and the secret, whose name would stay taken while it could be restored."""
        secrets = [each for each in stack.resources.values() if each.kind == _SECRET]
        for resource in [*self._stacks.find_kept(stack), *secrets]:
            service, remove = _REMOVERS[resource.kind]
            try:
                with explained(f"remove {resource.physical_id}"):
                    remove(self._account.client(service), resource.physical_id)
            except DeploymentError as error:
                if not _is_absent(error.__cause__):
                    raise
            self._terminal.say(f"Removed {resource.logical_id}: {resource.physical_id}")


def _describe(remains: Remains, stage: str) -> str:
    lines = []
    for stack in remains.stacks:
        kinds = Counter(each.kind.removeprefix("AWS::") for each in stack.resources.values())
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        lines.append(f"the stack {stack.name} ({stack.status}): {counted or 'nothing'}")
        named = [each for each in stack.resources.values() if each.kind in {_TABLE, _SECRET}]
        lines += [f"  {each.logical_id}: {each.physical_id}" for each in named]
    lines += [f"the bastion {each}" for each in remains.bastions]
    if remains.artifacts:
        lines.append(f"{len(remains.artifacts)} objects in the bucket, and the bucket if no other stage uses it")
    lines += [f"live access, ended first: {describe(grant)}" for grant in remains.grants]
    lines.append(
        f"The audit trail goes too. To keep it, first: python -m deployment audit export --stage {stage} > trail.jsonl"
    )
    return "\n".join(lines)


def _delete_table(dynamodb: Any, name: str) -> None:
    if dynamodb.describe_table(TableName=name)["Table"]["TableStatus"] != "DELETING":
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=name)


def _delete_log_group(logs: Any, name: str) -> None:
    logs.delete_log_group(logGroupName=name)


def _delete_secret(secretsmanager: Any, name: str) -> None:
    secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


_REMOVERS: Mapping[str, tuple[str, Callable[[Any, str], None]]] = {
    _TABLE: ("dynamodb", _delete_table),
    _LOGS: ("logs", _delete_log_group),
    _SECRET: ("secretsmanager", _delete_secret),
}
"""For each kind that a stack keeps: the service, and what deletes one. Deleting what is gone is nothing."""


def _is_absent(cause: BaseException | None) -> bool:
    return isinstance(cause, ClientError) and error_code(cause) in {
        "NoSuchEntity",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
    }
