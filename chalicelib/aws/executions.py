"""The workflow as Step Functions executions: starting one once, waking one, asking whether one runs."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code, translated
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.executions import Progress

# The state was answered, or has timed out, or its execution is over: whoever waits has looked at the ledger since.
_WAITS_NO_MORE = {"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"}


class StepFunctionsExecutions:
    """Raises LedgerUnavailableError when Step Functions does not answer."""

    def __init__(self, stepfunctions: Any, state_machine: str) -> None:
        self._stepfunctions = stepfunctions
        self._state_machine = state_machine

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        """Start an execution of that name unless there is one."""
        with _answering("start"):
            try:
                self._stepfunctions.start_execution(
                    stateMachineArn=self._state_machine, name=name, input=json.dumps(document)
                )
            except ClientError as error:
                if error_code(error) != "ExecutionAlreadyExists":
                    raise

    def wake(self, task_token: str) -> None:
        """Answer a waiting state with nothing: it looks at the ledger."""
        with _answering("go on"):
            try:
                self._stepfunctions.send_task_success(taskToken=task_token, output="{}")
            except ClientError as error:
                if error_code(error) not in _WAITS_NO_MORE:
                    raise

    def running(self) -> frozenset[str]:
        """The names of all executions under way, a moment ago."""
        with _answering("list what is under way"):
            pages = self._stepfunctions.get_paginator("list_executions").paginate(
                stateMachineArn=self._state_machine, statusFilter="RUNNING"
            )
            return frozenset(execution["name"] for page in pages for execution in page["executions"])

    def find_progress(self, name: str) -> Progress:
        """Where the execution of that name stands."""
        arn = self._state_machine.replace(":stateMachine:", ":execution:") + f":{name}"
        with _answering("say how it stands"):
            try:
                status = self._stepfunctions.describe_execution(executionArn=arn)["status"]
            except ClientError as error:
                if error_code(error) != "ExecutionDoesNotExist":
                    raise
                return Progress.UNKNOWN
        return Progress.RUNNING if status == "RUNNING" else Progress.OVER


def _answering(what: str) -> Any:
    return translated(
        LedgerUnavailableError, f"The workflow did not answer when asked to {what}; try again in a minute"
    )
