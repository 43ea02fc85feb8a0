"""Tells people through Slack: posts the cards and updates them in place. Decides nothing and remembers nothing."""

from datetime import datetime
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from chalicelib.domain.cards import CardReference
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.errors import SlackUnavailableError
from chalicelib.domain.grants import Grant
from chalicelib.domain.people import Person
from chalicelib.domain.policy import PolicyOutcome, find_reviewers, judge_request
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord, ReviewVerdict
from chalicelib.slack.blocks import Message
from chalicelib.slack.cards import approval, asked, ended, holder
from chalicelib.slack.cards import review as reviews
from chalicelib.slack.errors import slack_code, translated

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
# What chat.postMessage answers when there is nobody behind a user id.
_PERSON_IS_GONE = frozenset({"channel_not_found", "user_disabled", "user_not_found", "users_not_found"})


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
        card = approval.approval_card(
            request=request,
            location=self._catalogue.locations.get(request.location),
            approvers=policy.approvers,
            record=unanswered,
        )
        return self._post(self._catalogue.approvals_channel, card, f"the approval card of {request.request_id}")

    def remind_approvers(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        """Ask those who have not answered once more, in the thread of the approval card and in its channel."""
        approvers = self._find_approvers(request, request.asked_at)
        message = approval.reminder(request=request, record=record, approvers=approvers)
        self._reply(card, message, f"the reminder of {request.request_id}")

    def show_decision(self, card: CardReference, request: AccessRequest, record: DecisionRecord) -> None:
        """Show on the approval card what has been decided so far, or for good."""
        if record.verdict is Verdict.OPEN:
            at = record.decisions[-1].at if record.decisions else request.asked_at
            message = approval.approval_card(
                request=request,
                location=self._catalogue.locations.get(request.location),
                approvers=self._find_approvers(request, at),
                record=record,
            )
        else:
            message = approval.decided_card(request=request, environment=self._find_environment(request), record=record)
        self._update(card, message, f"the decision on {request.request_id}")

    def follow_request(
        self, request: AccessRequest, policy: PolicyOutcome, closes_at: datetime
    ) -> CardReference | None:
        """Tell the requester, in a direct message, that it waits."""
        message = asked.asked_card(request=request, policy=policy, closes_at=closes_at)
        return self._tell(request.person, message, f"the card to follow {request.request_id}")

    def announce_preparation(self, record: RequestRecord, *, may_sleep: bool) -> None:
        """Say on the cards that stand that the access is being prepared."""
        what = f"the preparation of {record.request.request_id}"
        environment = self._find_environment(record.request)
        self._update(
            record.approval_card,
            approval.preparing_card(record=record, environment=environment, may_sleep=may_sleep),
            what,
        )
        self._update(record.asked_card, asked.asked_card_preparing(record=record, may_sleep=may_sleep), what)

    def announce_delivery(self, record: RequestRecord, grant: Grant) -> None:
        """Say on the cards that stand that the access is live, and until when."""
        self._show_live(record, grant, f"the delivery of {record.request.request_id}")

    def deliver(self, request: AccessRequest, grant: Grant, connection: ConnectionDetails) -> CardReference | None:
        """Tell the requester, in a direct message, how to connect."""
        message = holder.ready_card(request=request, grant=grant, connection=connection)
        return self._tell(request.person, message, f"the connection of {request.request_id}")

    def show_end(self, record: RequestRecord, grant: Grant, connection: ConnectionDetails) -> None:
        """Show what has moved on every card that names it, close a warning of the old end, then tell the holder anew."""
        request, what = record.approved, f"the news of {record.request.request_id}"
        self._show_live(record, grant, what)
        ready = holder.ready_card(request=request, grant=grant, connection=connection)
        self._update(record.ready_card, ready, what)
        if not record.knows_the_way(grant):
            self._tell(request.person, holder.replaced_bastion_message(request=request, connection=connection), what)
        if record.told_end != grant.ends_at:
            self._update(record.soon_card, holder.outdated_soon_card(request=request, grant=grant), what)
            self._tell(request.person, holder.moved_end_message(request=request, grant=grant), what)

    def warn_of_end(self, request: AccessRequest, grant: Grant) -> CardReference | None:
        """Tell the holder that the access ends soon."""
        message = holder.soon_card(request=request, grant=grant)
        return self._tell(request.person, message, f"the coming end of {request.request_id}")

    def ask_review(self, request: AccessRequest, review: ReviewRecord, approvers: frozenset[Person]) -> CardReference:
        """Post the review card, which mentions every approver, in the approvals channel."""
        card = reviews.review_card(request=request, review=review, approvers=approvers)
        return self._post(self._catalogue.approvals_channel, card, f"the review card of {request.request_id}")

    def remind_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None:
        """Ask for the review once more, in the thread of its card and in its channel."""
        approvers = self._find_reviewers(request)
        message = reviews.review_reminder(request=request, review=review, approvers=approvers)
        self._reply(card, message, f"the reminder to review {request.request_id}")

    def show_review(self, card: CardReference, request: AccessRequest, review: ReviewRecord) -> None:
        """Bring the review card up to date."""
        if review.verdict is ReviewVerdict.OPEN:
            approvers = self._find_reviewers(request)
            message = reviews.review_card(request=request, review=review, approvers=approvers)
        else:
            message = reviews.reviewed_card(request=request, review=review)
        self._update(card, message, f"the review of {request.request_id}")

    def report(self, ending: Ending) -> None:
        """Close the cards that stand, then tell the requester how it ended.

        An extension that was given has been told by then, with the new end.
        """
        request = ending.request
        told = f"the end of {request.request_id}"
        closed = approval.closed_card(ending=ending, environment=self._find_environment(request))
        self._update(ending.approval_card, closed, f"{told} on its approval card")
        self._update(ending.asked_card, asked.closed_asked_card(ending=ending), f"{told} on its card to follow")
        self._update(ending.ready_card, holder.closed_ready_card(ending=ending), f"{told} on its ready message")
        self._update(ending.soon_card, holder.closed_soon_card(ending=ending), f"{told} on its warning")
        if request.extends is None or ending.outcome is not Outcome.FINISHED:
            self._tell(request.person, ended.ended_card(ending=ending), told)

    def _show_live(self, record: RequestRecord, grant: Grant, what: str) -> None:
        environment = self._find_environment(record.request)
        live = approval.live_card(record=record, environment=environment, grant=grant)
        self._update(record.approval_card, live, what)
        self._update(record.asked_card, asked.asked_card_ready(record=record, grant=grant), what)

    def _find_environment(self, request: AccessRequest) -> str | None:
        location = self._catalogue.locations.get(request.location)
        return None if location is None else location.environment

    def _find_reviewers(self, request: AccessRequest) -> frozenset[Person]:
        if request.location not in self._catalogue.locations:
            return frozenset()
        return find_reviewers(request, catalogue=self._catalogue)

    def _find_approvers(self, request: AccessRequest, at: datetime) -> frozenset[Person]:
        if request.location not in self._catalogue.locations:
            return frozenset()
        return judge_request(request, catalogue=self._catalogue, now=at).approvers

    def _post(self, channel: str, message: Message, what: str, **place: Any) -> CardReference:
        with translated(what):
            answer = self._client.chat_postMessage(
                channel=channel, unfurl_links=False, unfurl_media=False, **message, **place
            )
            return CardReference(channel=str(answer["channel"]), ts=str(answer["ts"]))

    def _reply(self, card: CardReference, message: Message, what: str) -> None:
        self._post(card.channel, message, what, thread_ts=card.ts, reply_broadcast=True)

    def _tell(self, person: Person, message: Message, what: str) -> CardReference | None:
        """A direct message. A machine is told nothing: it asks."""
        if person.is_machine:
            return None
        try:
            return self._post(person.slack, message, what)
        except SlackUnavailableError as error:
            if isinstance(error.__cause__, SlackApiError) and slack_code(error.__cause__) in _PERSON_IS_GONE:
                raise SlackUnavailableError(
                    f"Slack has nobody to give {what} to: {person.slack} ({person.name}) is unknown or deactivated."
                    " Correct the catalogue's [people]."
                ) from error
            raise

    def _update(self, card: CardReference | None, message: Message, what: str) -> None:
        if card is None:
            return
        with translated(what):
            try:
                self._client.chat_update(channel=card.channel, ts=card.ts, **message)
            except SlackApiError as error:
                if slack_code(error) not in _CARD_IS_GONE:
                    raise
