"""What people can do and see in a workspace, with bounded waits."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from local.workspace import Workspace

_Value = TypeVar("_Value")
MOST_SECONDS = 40.0
LAST_STATES = {"Finished", "Denied", "TimedOut", "Failed"}


def eventually(what: str, find: Callable[[], _Value | None]) -> _Value:
    """The first true value of ``find``, asked again and again for a bounded time."""
    deadline, pause = time.monotonic() + MOST_SECONDS, threading.Event()
    while not (found := find()):
        assert time.monotonic() < deadline, f"{what} did not come"
        pause.wait(0.05)
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

    def wait_for_end(self, request_id: str) -> str:
        """The last state of a request's execution."""

        def last() -> str | None:
            states = self.workspace.states_entered(request_id)
            return states[-1] if states and states[-1] in LAST_STATES else None

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


def _id(who: str) -> str:
    return f"U0{who.upper()}"
