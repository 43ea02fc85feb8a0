"""What people can do and see in a workspace, with bounded waits."""

import json
import os
import re
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import boto3

from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from local import seed
from local.slack.api import Call
from local.slack.block_checker import elements
from local.workspace import Workspace

_Value = TypeVar("_Value")
MOST_SECONDS = 40.0
LAST_STATES = {"Finished", "Denied", "TimedOut", "Cancelled", "Failed"}


def eventually(what: str, find: Callable[[], _Value | None]) -> _Value:
    """The first true value of ``find``, asked again and again for a bounded time."""
    deadline, pause = time.monotonic() + MOST_SECONDS, threading.Event()
    while not (found := find()):
        assert time.monotonic() < deadline, f"{what} did not come"
        pause.wait(0.2)
    return found


class People:
    """Alice, bob and carol at their keyboards."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.slack = workspace, workspace.slack

    def ask(self, who: str, text: str) -> str:
        """Type a command that is accepted; returns the request's id."""
        reply = self.reply(who, f"/db-access {text}")
        match = re.search(r"Asked: .*(R-\w{6})", reply)
        assert match, reply
        return match[1]

    def reply(self, who: str, line: str) -> str:
        """Type a line and read the answer, which nobody else sees."""
        answer = self.slack.command(_id(who), "C0GENERAL", line)
        assert answer.ephemeral, line
        return answer.error or answer.text

    def approval_card(self, request_id: str) -> dict[str, Any]:
        """The card in the approvals channel."""
        return eventually(
            f"the approval card of {request_id}",
            lambda: next((m for m in self.slack.messages("C0APPROVALS") if request_id in str(m)), None),
        )

    def decide(self, who: str, request_id: str, action: str = "approve") -> None:
        """Press a button of the approval card."""
        card = self.approval_card(request_id)
        self.slack.press(_id(who), "C0APPROVALS", card["ts"], action)

    def deny(self, who: str, request_id: str, reason: str = "Not now.") -> Any:
        """Press Deny and send the form that opens."""
        self.decide(who, request_id, "deny")
        return self.slack.submit(_id(who), {"reason": reason})

    def press_home(self, who: str, request_id: str, action: str) -> Any:
        """Open Home and press the button of a request there."""
        self.slack.open_app(_id(who))
        home = self.home(who)
        row = next(block["block_id"] for block, part in elements(home["blocks"]) if _is(part, action, request_id))
        return self.slack.press_in_view(_id(who), action, row, at_home=True)

    def home(self, who: str) -> dict[str, Any]:
        """What stands on somebody's Home."""
        return self.slack.home_of(_id(who)) or {"blocks": []}

    def press_direct(self, who: str, request_id: str, action: str) -> Any:
        """Press a button of the newest direct message of a request that has it."""
        message = eventually(
            f"the button {action} of {request_id}", lambda: self.direct(who, request_id, f"'action_id': '{action}'")
        )
        return self.slack.press(_id(who), f"D0{who.upper()}", message["ts"], action)

    def click(self, request_id: str, action: str) -> Call:
        """The newest request that told the app of a press of this button."""
        return next(
            sent
            for sent in reversed(self.slack.requests)
            if (payload := payload_of(sent)).get("type") == "block_actions"
            and (payload["actions"][0]["action_id"], payload["actions"][0].get("value")) == (action, request_id)
        )

    def sending(self, request_id: str, callback_id: str) -> Call:
        """The newest request that sent the app this form about a request."""
        return next(
            sent
            for sent in reversed(self.slack.requests)
            if (payload := payload_of(sent)).get("type") == "view_submission"
            and (payload["view"]["callback_id"], payload["view"]["private_metadata"]) == (callback_id, request_id)
        )

    def forge(self, sent: Call, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Sign and send a changed copy of what was sent; the app's answer."""
        payload = payload_of(sent)
        change(payload)
        return self.slack.send(sent.name, {"payload": json.dumps(payload)})

    def record(self, request_id: str) -> Any:
        """What the ledger says of a request."""
        return DynamoRequestLedger(_table()).require_request(request_id)

    def grant(self, request_id: str) -> Any:
        """The grant of a request, as the ledger has it."""
        found = DynamoGrantLedger(_table()).find_grant(self.record(request_id).grant_key)
        return found if found is not None and found.facts.request_id == request_id else None

    def audited(self, request_id: str) -> list[str]:
        """The names of the entries in a request's audit trail."""
        key = {":pk": {"S": f"AUDIT#{request_id}"}}
        found = _client("dynamodb").query(
            TableName=seed.TABLE, KeyConditionExpression="pk = :pk", ExpressionAttributeValues=key
        )
        return [item["event"]["S"] for item in found["Items"]]

    def whispers(self, who: str, channel: str = "C0APPROVALS") -> list[str]:
        """What only this person sees in a channel."""
        return [message["text"] for message in self.slack.ephemerals(_id(who), channel)]

    def ready(self, who: str, request_id: str) -> dict[str, Any]:
        """The ready message, once it came."""
        return eventually(f"the ready message of {request_id}", lambda: self.direct(who, request_id, "'show_token'"))

    def direct(self, who: str, request_id: str, text: str) -> dict[str, Any] | None:
        """The newest direct message of a request that holds a text."""
        messages = reversed(self.slack.direct_messages(_id(who)))
        return next((m for m in messages if request_id in str(m) and text in str(m)), None)

    def press_ready(self, who: str, request_id: str, action: str) -> Any:
        """Press a button of the ready message."""
        message = self.ready(who, request_id)
        place = next(channel for channel in self.slack.state(_id(who))["channels"] if channel.startswith("D"))
        return self.slack.press(_id(who), place, message["ts"], action)

    def token(self, who: str, request_id: str) -> str:
        """Press Show Token and copy the token."""
        self.press_ready(who, request_id, "show_token")
        found = eventually("the token", lambda: find_token(self.slack.view_of(_id(who))))
        self.slack.close(_id(who))
        return found

    def states_entered(self, request_id: str) -> list[str]:
        """The states of a request's execution so far."""
        return self.workspace.states_entered(request_id)

    def wait_for_end(self, request_id: str) -> str:
        """The last state of a request's execution."""

        arn = self.workspace.state_machine.replace(":stateMachine:", ":execution:") + f":{request_id}"
        stepfunctions = _client("stepfunctions")

        def last() -> str | None:
            if stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING":
                return None
            return next(state for state in reversed(self.states_entered(request_id)) if state in LAST_STATES)

        return eventually(f"the end of {request_id}", last)


def lines_of(message: dict[str, Any]) -> list[str]:
    """What stands in boxes of its own, to be copied."""
    return [
        "".join(part["text"] for part in element["elements"])
        for block in message["blocks"]
        for element in block.get("elements", [])
        if element.get("type") == "rich_text_preformatted"
    ]


def find_token(view: dict[str, Any] | None) -> str | None:
    """The token in a view, if it shows one."""
    return next((line for line in lines_of(view) if "X-Amz-Signature=" in line), None) if view else None


def payload_of(sent: Call) -> dict[str, Any]:
    """What Slack told the app, if it was a click or a form."""
    payload: dict[str, Any] = json.loads(sent.arguments.get("payload", "{}"))
    return payload


def said_in(view: dict[str, Any] | None) -> str:
    """Everything that stands in a view or message, as one text."""
    return str((view or {"blocks": []})["blocks"])


def _table() -> Table:
    return Table(_client("dynamodb"), seed.TABLE)


def _client(service: str) -> Any:
    return _client_at(service, os.environ["AWS_ENDPOINT_URL"])


@cache
def _client_at(service: str, _endpoint: str) -> Any:
    """Making one takes as long as ten calls, and a test waits by calling again and again."""
    return boto3.client(service)


def _is(part: dict[str, Any], action: str, request_id: str) -> bool:
    return (part["action_id"], part.get("value")) == (action, request_id)


def _id(who: str) -> str:
    return f"U0{who.upper()}"
