"""Forms that were filled in: reads them, has what they say judged and recorded, and shows what is wrong beside its field."""

import re
from typing import Any

from slack_bolt import Ack, App

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.errors import AccessError
from chalicelib.domain.requests import REQUEST_ID
from chalicelib.slack.actions import show_decided, show_reviewed
from chalicelib.slack.acts import Acts
from chalicelib.slack.blocks import Message, View
from chalicelib.slack.commands import say_what_was_asked, say_what_was_extended
from chalicelib.slack.modals import ask, decide, extend, review
from chalicelib.slack.modals.said import said_modal

_ANYTHING = re.compile(r".*", re.DOTALL)
_Answer = dict[str, Any]


def register_submissions(app: App, acts: Acts) -> None:
    """Listen to every form; a view without fields is only closed."""

    @app.view(_ANYTHING)
    def submit(ack: Ack, body: dict[str, Any]) -> None:
        answer = _Submission(body, acts).answer()
        ack(**answer)


class _Submission:
    """One form that somebody sent. Every method answers with what Slack does next: errors at fields, or another window."""

    def __init__(self, body: dict[str, Any], acts: Acts) -> None:
        view = body["view"]
        self._acts, self._callback_id, self._view_id = acts, view["callback_id"], view["id"]
        self._values, self._request_id = view.get("state", {}).get("values", {}), view.get("private_metadata", "")
        self._person = acts.find_person(body["user"]["id"])

    def answer(self) -> _Answer:
        forms = {
            ask.CALLBACK: self._ask,
            decide.DENY: self._deny,
            decide.APPROVE_LESS: self._approve_less,
            extend.CALLBACK: self._extend,
            review.CALLBACK: self._not_justified,
        }
        form = forms.get(self._callback_id)
        if form is None:
            return {}
        if form != self._ask and not REQUEST_ID.fullmatch(self._request_id):
            return {}
        try:
            return form()
        except AccessError as error:
            return _shown(said_modal(reason=str(error)))

    def _ask(self) -> _Answer:
        if errors := ask.find_ask_errors(self._values):
            return _errors(errors)
        wanted = ask.read_ask_form(self._values)
        try:
            # A view is sent once; Slack's repetition of the same sending bears the same id.
            filed = self._acts.file_request(person=self._person, ask=wanted, origin_id=self._view_id)
        except AccessError as error:
            return self._problem(error, wanted.location)
        if isinstance(filed, Refusal):
            return self._problem(filed, wanted.location)
        return _shown(said_modal(message=say_what_was_asked(filed)))

    def _problem(self, problem: Refusal | AccessError, location: str) -> _Answer:
        wanted = ask.read_ask_form(self._values)
        return _errors(ask.place_ask_problem(problem, ask=wanted, location=self._acts.find_location(location)))

    def _deny(self) -> _Answer:
        if errors := decide.find_deny_errors(self._values):
            return _errors(errors)
        decided = self._acts.record_decision(
            person=self._person,
            request_id=self._request_id,
            approves=False,
            reason=decide.read_deny_form(self._values),
        )
        return _refused(show_decided(decided, self._acts))

    def _approve_less(self) -> _Answer:
        record = self._acts.find_request(self._request_id)
        terms = decide.read_approve_less_form(self._values, request=record.request) if record else None
        if terms is None:
            return _shown(said_modal(reason="Choose a level and a duration; nothing was approved."))
        decided = self._acts.record_decision(
            person=self._person, request_id=self._request_id, approves=True, terms=terms
        )
        return _refused(show_decided(decided, self._acts))

    def _extend(self) -> _Answer:
        seconds = extend.read_extend_form(self._values)
        if seconds is None:
            return _errors(extend.place_extend_problem("Choose how much longer."))
        asked = self._acts.ask_extension(
            person=self._person, request_id=self._request_id, seconds=seconds, origin_id=self._view_id
        )
        if isinstance(asked, Refusal):
            return _errors(extend.place_extend_problem(asked.reason))
        return _shown(said_modal(message=say_what_was_extended(asked)))

    def _not_justified(self) -> _Answer:
        if errors := review.find_not_justified_errors(self._values):
            return _errors(errors)
        note = review.read_not_justified_form(self._values)
        reviewed = self._acts.record_review(
            person=self._person, request_id=self._request_id, is_justified=False, note=note
        )
        return _shown(said_modal(message=show_reviewed(reviewed, self._request_id, self._acts)))


def _errors(errors: dict[str, str]) -> _Answer:
    return {"response_action": "errors", "errors": errors}


def _shown(view: View) -> _Answer:
    return {"response_action": "update", "view": view}


def _refused(message: Message | None) -> _Answer:
    """A decision closes its window and shows on the card; a refusal stays in the window."""
    return _shown(said_modal(message=message)) if message is not None else {}
