"""Tells people through Slack: posts the cards and updates them in place. Decides nothing and remembers nothing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from chalicelib.domain.cards import CardReference
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.endings import Ending
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import Grant
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyOutcome, decide_policy
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack import cards
from chalicelib.slack.blocks import Message

# What chat.update answers when there is nothing left to update: the message was deleted, or its channel was archived or left.
_CARD_IS_GONE = frozenset(
    {
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "is_archived",
        "is_inactive",
        "message_not_found",
        "not_in_channel",
    }
)
_RATE_LIMITED = "ratelimited"
_SLACK_CODE = re.compile(r"[a-z_]{1,60}")
_ADVICE = {
    _RATE_LIMITED: "Slack asks for a pause.",
    **dict.fromkeys(
        ("account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"),
        "Reinstall the app in Slack and store its new bot token.",
    ),
    "missing_scope": "Compare the app's scopes with its manifest and reinstall it.",
    **dict.fromkeys(
        ("channel_not_found", "is_archived", "not_in_channel"),
        "Invite the app to the approvals channel and compare the Slack ids in the catalogue.",
    ),
}
_GENERAL_ADVICE = "Try again; if it stays, tell the people who run Drawbridge."


class SlackNotifier:
    """The workflow's notifier, on Slack. Every method raises SlackUnavailableError and is safe to repeat, save that a repeated
    post stands twice; so posts come last.

    The catalogue says which channel approvers are asked in, and what a card shows beside the request: its environment and
    who may still decide.
    """

    def __init__(self, client: WebClient, catalogue: Catalogue) -> None:
        self._client = client
        self._catalogue = catalogue

    def ask_approvers(self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime) -> CardReference:
        """Post the approval card in the approvals channel."""
        unanswered = DecisionRecord(
            request_id=request.request_id,
            verdict=Verdict.OPEN,
            needed=policy.needed,
            closes_at=closes_at,
            decisions=(),
            version=1,
        )
        card = cards.approval_card(
            request=request,
            environment=self._find_environment(request),
            approvers=policy.approvers,
            record=unanswered,
        )
        return self._post(self._catalogue.approvals_channel, card, f"the approval card of {request.request_id}")

    def show_decision(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        """Show on the approval card what has been decided so far, or for good."""
        environment = self._find_environment(request)
        if record.verdict is Verdict.OPEN:
            message = cards.approval_card(
                request=request,
                environment=environment,
                approvers=self._find_approvers(request, record),
                record=record,
            )
        else:
            message = cards.decided_card(request=request, environment=environment, record=record)
        self._update(card, message, f"the decision on {request.request_id}")

    def deliver(self, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> CardReference:
        """Tell the requester, in a direct message, how to connect."""
        message = cards.ready_card(request=request, grant=grant, connection=connection)
        return self._post(request.person.slack, message, f"the connection of {request.request_id}")

    def report(self, ending: Ending) -> None:
        """Close the cards that stand, then tell the requester how it ended."""
        request = ending.request
        if ending.approval_card is not None:
            closed = cards.closed_card(ending=ending, environment=self._find_environment(request))
            self._update(ending.approval_card, closed, f"the end of {request.request_id} on its approval card")
        if ending.ready_card is not None:
            closed = cards.closed_ready_card(ending=ending)
            self._update(ending.ready_card, closed, f"the end of {request.request_id} on its ready message")
        self._post(request.person.slack, cards.ended_card(ending=ending), f"the end of {request.request_id}")

    def _find_environment(self, request: AccessRequest) -> str | None:
        location = self._catalogue.locations.get(request.location)
        return None if location is None else location.environment

    def _find_approvers(self, request: AccessRequest, record: DecisionRecord) -> frozenset[Person]:
        location = self._catalogue.locations.get(request.location)
        if location is None or not record.decisions:
            return frozenset()
        return decide_policy(
            person=request.person,
            location=location,
            level=request.level,
            duration_seconds=request.duration_seconds,
            catalogue=self._catalogue,
            now=record.decisions[-1].at,
        ).approvers

    def _post(self, channel: str, message: Message, what: str) -> CardReference:
        with translated(what):
            answer = self._client.chat_postMessage(channel=channel, unfurl_links=False, unfurl_media=False, **message)
            return CardReference(channel=str(answer["channel"]), ts=str(answer["ts"]))

    def _update(self, card: CardReference, message: Message, what: str) -> None:
        with translated(what):
            try:
                self._client.chat_update(channel=card.channel, ts=card.ts, **message)
            except SlackApiError as error:
                if _slack_code(error) not in _CARD_IS_GONE:
                    raise


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Slack's and the network's errors as SlackUnavailableError, with Slack's code but nothing else of its answer."""
    try:
        yield
    except SlackApiError as error:
        code = _slack_code(error)
        advice = _ADVICE.get(code, _GENERAL_ADVICE)
        raise SlackUnavailableError(f"Slack did not take {what}: {code}. {advice}") from error
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        # ValueError: the SDK lets a cut-off or undecodable answer through as the decoder's own error.
        raise SlackUnavailableError(
            f"Slack could not be reached for {what} ({type(error).__name__}). {_GENERAL_ADVICE}"
        ) from error


def _slack_code(error: SlackApiError) -> str:
    """Slack's code for what went wrong, or the HTTP status. The SDK puts whole foreign bodies where a code should be."""
    response = error.response
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return _RATE_LIMITED
    code = response.data.get("error") if isinstance(response.data, dict) else None
    return code if isinstance(code, str) and _SLACK_CODE.fullmatch(code) else f"HTTP status {response.status_code}"
