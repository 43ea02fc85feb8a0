"""Buttons: reads who pressed which one of which request, has it judged and recorded, and answers that person alone."""

import re
from collections.abc import Callable
from typing import Any

from slack_bolt import Ack, App, Respond
from slack_sdk import WebClient

from chalicelib.domain.decisions import Refusal, Verdict
from chalicelib.domain.errors import AccessError
from chalicelib.domain.requests import REQUEST_ID
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message
from chalicelib.slack.modals import first_time_modal, token_loading_modal, token_refused_modal
from chalicelib.slack.notifier import translated
from chalicelib.slack.replies import outdated_reply, refused_reply

_ANYTHING = re.compile(r".*", re.DOTALL)


def register_actions(app: App, acts: Acts) -> None:
    """Listen to every button; one that is not known belongs to a card of another version."""
    verbs: dict[str, Callable[[dict[str, Any], WebClient, str], Message | None]] = {
        "approve": lambda body, _, request_id: _decide(acts, body, request_id, approves=True),
        "deny": lambda body, _, request_id: _decide(acts, body, request_id, approves=False),
        "end": lambda body, _, request_id: _end(acts, body, request_id),
        "show_token": lambda body, client, request_id: _show_token(acts, body, client, request_id),
        "new_token": lambda body, _, request_id: _new_token(acts, body, request_id),
        "first_time": lambda body, client, request_id: _first_time(acts, body, client, request_id),
    }

    @app.action(_ANYTHING)
    def press(ack: Ack, body: dict[str, Any], client: WebClient, respond: Respond) -> None:
        ack()
        reply = _carry_out(verbs.get(body["actions"][0]["action_id"]), body, client)
        if reply is not None and "response_url" in body:
            respond(response_type="ephemeral", replace_original=False, **reply)

    @app.view(_ANYTHING)
    def submit(ack: Ack) -> None:
        ack()


def _carry_out(
    verb: Callable[[dict[str, Any], WebClient, str], Message | None] | None,
    body: dict[str, Any],
    client: WebClient,
) -> Message | None:
    request_id = str(body["actions"][0].get("value", ""))
    if verb is None or not REQUEST_ID.fullmatch(request_id):
        return outdated_reply()
    try:
        return verb(body, client, request_id)
    except AccessError as error:
        return refused_reply(reason=str(error))


def _decide(acts: Acts, body: dict[str, Any], request_id: str, *, approves: bool) -> Message | None:
    person = acts.find_person(body["user"]["id"])
    decided = acts.record_decision(person=person, request_id=request_id, approves=approves)
    if isinstance(decided, Refusal):
        return refused_reply(reason=decided.reason)
    if decided.verdict is Verdict.OPEN:
        acts.show_progress(decided)
    return None


def _end(acts: Acts, body: dict[str, Any], request_id: str) -> Message | None:
    refusal = acts.ask_end(person=acts.find_person(body["user"]["id"]), request_id=request_id)
    return refused_reply(reason=refusal.reason) if refusal else None


def _show_token(acts: Acts, body: dict[str, Any], client: WebClient, request_id: str) -> None:
    # The trigger lasts three seconds, so the view opens before anything is looked up.
    with translated("the window for your token"):
        opened = client.views_open(trigger_id=body["trigger_id"], view=token_loading_modal(request_id=request_id))
    acts.issue_token(person_id=_person_id(body), request_id=request_id, view_id=opened["view"]["id"])


def _new_token(acts: Acts, body: dict[str, Any], request_id: str) -> None:
    acts.issue_token(person_id=_person_id(body), request_id=request_id, view_id=body["view"]["id"])


def _first_time(acts: Acts, body: dict[str, Any], client: WebClient, request_id: str) -> None:
    connection = acts.find_connection(person_id=_person_id(body), request_id=request_id)
    if isinstance(connection, Refusal):
        view = token_refused_modal(request_id=request_id, reason=connection.reason)
    else:
        view = first_time_modal(connection=connection)
    with translated("this window"):
        client.views_open(trigger_id=body["trigger_id"], view=view)


def _person_id(body: dict[str, Any]) -> str:
    return f"{body['user']['team_id']}/{body['user']['id']}"
