"""The slash command: reads who typed what, has it filed, and answers that person alone."""

from typing import Any

from slack_bolt import Ack, App

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import AccessError
from chalicelib.domain.filings import AlreadyAsked, AlreadyHeld, Asked
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message
from chalicelib.slack.replies import (
    asked_already_reply,
    asked_reply,
    held_reply,
    help_reply,
    refused_reply,
    too_many_reply,
)

COMMAND = "/db-access"
_HELP = {"", "help", "-h", "--help"}


def register_commands(app: App, acts: Acts) -> None:
    """Listen to ``/db-access``."""

    @app.command(COMMAND)
    def db_access(ack: Ack, body: dict[str, Any]) -> None:
        ack(response_type="ephemeral", **_answer(body, acts))


def _answer(body: dict[str, Any], acts: Acts) -> Message:
    text = body.get("text", "").strip()
    if text.lower() in _HELP:
        return help_reply(locations=acts.locations)
    try:
        filed = acts.file_request(person=acts.find_person(body["user_id"]), text=text, origin_id=body["trigger_id"])
    except AccessError as error:
        return refused_reply(reason=str(error))
    match filed:
        case Asked():
            return asked_reply(request=filed.request, policy=filed.policy)
        case AlreadyHeld():
            return held_reply(grant=filed.grant)
        case AlreadyAsked(is_same_ask=True):
            return asked_already_reply(request_id=filed.request_ids[0])
        case AlreadyAsked():
            return too_many_reply(open_request_ids=filed.request_ids)
        case Refusal():
            return refused_reply(reason=filed.reason)
