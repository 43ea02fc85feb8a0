"""Buttons: reads who pressed which one of which request, has it judged and recorded, and answers that person alone."""

import re
from collections.abc import Callable
from typing import Any

from slack_bolt import Ack, App
from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from chalicelib.domain.decisions import DecisionRecord, Refusal, Verdict
from chalicelib.domain.errors import AccessError, SlackUnavailableError, UnknownRequestError
from chalicelib.domain.people import Person
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import REQUEST_ID
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message
from chalicelib.slack.cards.buttons import Press
from chalicelib.slack.commands import NOT_LISTED, say_what_was_extended
from chalicelib.slack.errors import translated
from chalicelib.slack.modals.said import said_modal
from chalicelib.slack.replies.answers import (
    cancelled_reply,
    ending_reply,
    forgotten_reply,
    outdated_reply,
    refused_reply,
    reviewed_reply,
)
from chalicelib.slack.windows import Windows

_ANYTHING = re.compile(r".*", re.DOTALL)
_HALF_AN_HOUR = 30 * 60
_ANSWER_SECONDS = 1
_OF_NO_REQUEST = frozenset({Press.ASK, Press.FORGET_PROFILE, Press.REFRESH})


def register_actions(app: App, acts: Acts) -> None:
    """Listen to every button; one that is not known belongs to a card of another version."""

    @app.action(_ANYTHING)
    def press(ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        ack()
        action_id, request_id = body["actions"][0]["action_id"], str(body["actions"][0].get("value", ""))
        reply = _carry_out(action_id, request_id, body, client, acts)
        if reply is not None:
            tell_presser(reply, body, client)
        if action_id in set(Press) and body.get("view", {}).get("type") == "home":
            _refresh_home(body["user"]["id"], acts)


def tell_presser(reply: Message, body: dict[str, Any], client: WebClient) -> None:
    """Answer a click for that person's eyes alone: beside the message, or in a window where there is no message.

    What was recorded is recorded, whether or not Slack takes the answer in time.
    """
    try:
        with translated("the answer to a click"):
            if "response_url" in body:
                whisper = {"response_type": "ephemeral", "replace_original": False, **reply}
                WebhookClient(body["response_url"], timeout=_ANSWER_SECONDS, retry_handlers=[]).send_dict(whisper)
            elif body.get("view", {}).get("type") == "modal":
                client.views_push(trigger_id=body["trigger_id"], view=said_modal(message=reply))
            else:
                client.views_open(trigger_id=body["trigger_id"], view=said_modal(message=reply))
    except SlackUnavailableError:
        return


def show_decided(decided: DecisionRecord | Refusal, acts: Acts) -> Message | None:
    """The refusal; nothing for a decision, which the card shows. One that Slack does not take now is brought up to date later."""
    if isinstance(decided, Refusal):
        return refused_reply(reason=decided.reason)
    if decided.verdict is Verdict.OPEN:
        _try(lambda: acts.show_progress(decided))
    return None


def show_reviewed(reviewed: ReviewRecord | Refusal, request_id: str, acts: Acts) -> Message:
    """The refusal, or that it is done. A card that Slack did not take when its review was closed is closed by the next click."""
    if isinstance(reviewed, Refusal):
        record = acts.find_request(request_id)
        if record is not None and record.review is not None and record.review.verdict is not ReviewVerdict.OPEN:
            closed = record.review
            _try(lambda: acts.show_review(closed))
        return refused_reply(reason=reviewed.reason)
    _try(lambda: acts.show_review(reviewed))
    return reviewed_reply(request_id=request_id)


def _try(show: Callable[[], None]) -> None:
    """What is recorded is recorded, whether or not Slack can show it at the moment."""
    try:
        show()
    except SlackUnavailableError:
        return


def _carry_out(action_id: str, request_id: str, body: dict[str, Any], client: WebClient, acts: Acts) -> Message | None:
    if action_id not in set(Press) or (action_id not in _OF_NO_REQUEST and not REQUEST_ID.fullmatch(request_id)):
        return outdated_reply()
    press, person = Press(action_id), acts.find_person(body["user"]["id"])
    presser = _Presser(person=person, body=body, client=client, acts=acts)
    try:
        return presser.press(press, request_id)
    except AccessError as error:
        return refused_reply(reason=str(error))


def _refresh_home(user_id: str, acts: Acts) -> None:
    if person := acts.find_person(user_id):
        _try(lambda: acts.refresh_home(person))


class _Presser:
    """One person's one click. Every method answers it, or leaves the answer to a card or a window."""

    def __init__(self, *, person: Person | None, body: dict[str, Any], client: WebClient, acts: Acts) -> None:
        self._person, self._body, self._acts = person, body, acts
        self._person_id = f"{body['user']['team_id']}/{body['user']['id']}"
        self._windows = Windows(client=client, acts=acts, trigger_id=body["trigger_id"])

    def press(self, press: Press, request_id: str) -> Message | None:
        acts: dict[Press, Callable[[str], Message | None]] = {
            Press.APPROVE: self._approve,
            Press.APPROVE_LESS: lambda one: self._windows.approve_less(self._require(one)),
            Press.DENY: lambda one: self._windows.deny(self._require(one)),
            Press.CANCEL: self._cancel,
            Press.END: self._end,
            Press.EXTEND: self._choose_extension,
            Press.EXTEND_30: self._extend,
            Press.SHOW_TOKEN: lambda one: self._windows.token(self._person_id, one),
            Press.NEW_TOKEN: self._new_token,
            Press.GUI: lambda one: self._windows.gui(self._person_id, one),
            Press.FIRST_TIME: lambda one: self._windows.first_time(self._person_id, one),
            Press.WHO_BLOCKS: lambda one: self._windows.who_blocks(self._person_id, self._require(one)),
            Press.ASK: self._ask,
            Press.ASK_AGAIN: self._ask,
            Press.JUSTIFIED: self._justify,
            Press.NOT_JUSTIFIED: lambda one: self._windows.not_justified(self._require(one)),
            Press.FORGET_PROFILE: self._forget,
            Press.REFRESH: lambda _: None,
        }
        return acts[press](request_id)

    def _require(self, request_id: str) -> RequestRecord:
        record = self._acts.find_request(request_id)
        if record is None:
            raise UnknownRequestError(f"There is no request {request_id}.")
        return record

    def _approve(self, request_id: str) -> Message | None:
        decided = self._acts.record_decision(person=self._person, request_id=request_id, approves=True)
        return show_decided(decided, self._acts)

    def _cancel(self, request_id: str) -> Message:
        refusal = self._acts.cancel_request(person=self._person, request_id=request_id)
        return refused_reply(reason=refusal.reason) if refusal else cancelled_reply(request_id=request_id)

    def _end(self, request_id: str) -> Message:
        refusal = self._acts.ask_end(person=self._person, request_id=request_id)
        return refused_reply(reason=refusal.reason) if refusal else ending_reply(request_ids=[request_id])

    def _choose_extension(self, request_id: str) -> Message | None:
        if self._person is None:
            return refused_reply(reason=NOT_LISTED)
        return self._windows.extend(self._person, request_id)

    def _extend(self, request_id: str) -> Message:
        asked = self._acts.ask_extension(
            person=self._person,
            request_id=request_id,
            seconds=_HALF_AN_HOUR,
            origin_id=self._body["trigger_id"],
        )
        return say_what_was_extended(asked)

    def _new_token(self, request_id: str) -> Message | None:
        if "view" not in self._body:
            return outdated_reply()
        self._acts.issue_token(person_id=self._person_id, request_id=request_id, view_id=self._body["view"]["id"])
        return None

    def _ask(self, request_id: str) -> Message | None:
        if self._person is None:
            return refused_reply(reason=NOT_LISTED)
        self._windows.ask(self._person, request_id)
        return None

    def _justify(self, request_id: str) -> Message:
        reviewed = self._acts.record_review(person=self._person, request_id=request_id, is_justified=True, note="")
        return show_reviewed(reviewed, request_id, self._acts)

    def _forget(self, _: str) -> Message:
        if self._person is not None:
            self._acts.forget_preferences(self._person)
        return forgotten_reply()
