"""The Slack endpoint; it and the API alone face the internet. It verifies, parses, has one act judged and recorded, and answers.

Loads neither psycopg nor anything else that a cold start within Slack's three seconds cannot afford.
"""

from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from time import monotonic
from typing import Any

from chalice import Blueprint, Response
from slack_bolt import App
from slack_sdk import WebClient

from chalicelib.aws.secrets import SlackSecrets, read_slack_secrets
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.costs import CostReport
from chalicelib.domain.decisions import DecisionRecord, Refusal, Terms
from chalicelib.domain.errors import AccessError
from chalicelib.domain.locations import Location
from chalicelib.domain.overviews import EndedRequest, Overview
from chalicelib.domain.people import Person
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import REQUEST_ID, Origin
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.functions import endpoint_collaborators as aws
from chalicelib.functions.clock import now
from chalicelib.functions.endpoint_acts import EndpointActs, audited
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger, redacted
from chalicelib.settings import current_settings
from chalicelib.slack.app import CurrentApp, SignedRequest, build_app, has_readable_signature
from chalicelib.slack.groups import SlackGroups
from chalicelib.slack.homes import SlackHomes
from chalicelib.slack.notifier import SlackNotifier
from chalicelib.workflow import find_connection as find_connection_verb
from chalicelib.workflow import read_cost as read_cost_verb
from chalicelib.workflow import read_overview as read_overview_verb
from chalicelib.workflow import record_decision as record_decision_verb
from chalicelib.workflow import record_review as record_review_verb

blueprint = Blueprint(__name__)
_CONTENT_TYPES = ["application/x-www-form-urlencoded", "application/json"]
_HISTORY = 20


@blueprint.route("/slack/events", methods=["POST"], content_types=_CONTENT_TYPES)
def slack_events() -> Response:
    """Everything that Slack sends. 401 for what is not signed, 400 for what cannot be read; nothing of either is logged."""
    request: Any = blueprint.current_request
    headers = dict(request.headers)
    if not has_readable_signature(headers):
        return Response(body="", status_code=HTTPStatus.UNAUTHORIZED)
    try:
        signed = SignedRequest(body=request.raw_body.decode("utf-8"), headers=headers)
    except ValueError:
        return Response(body="", status_code=HTTPStatus.BAD_REQUEST)
    named = REQUEST_ID.search(signed.raw_body)
    logger.append_keys(request_id=named.group() if named else "", function="slack_events")
    try:
        answer = _current_app().dispatch(signed)
    except AccessError as error:
        # Nothing is verified yet, so whoever asks learns nothing of what is wrong with the catalogue or the settings.
        logger.error("not set up", extra={"error": str(error)})
        return Response(body="", status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    if answer.status != HTTPStatus.UNAUTHORIZED:
        logger.info("answered", extra={"status": int(answer.status)})
    return Response(
        body=answer.body,
        status_code=answer.status,
        headers={name: values[0] for name, values in answer.headers.items() if name.lower() == "content-type"},
    )


@cache
def _current_app() -> CurrentApp[SlackSecrets]:
    return CurrentApp(read=_read_secrets, build=_build, clock=monotonic)


def _read_secrets() -> SlackSecrets:
    return read_slack_secrets(aws.client("secretsmanager"), current_settings().slack_secret)


def _build(secrets: SlackSecrets) -> App:
    settings = current_settings()
    return build_app(
        acts=_AwsActs(WebClient(token=secrets.bot_token, base_url=settings.slack_api, timeout=2)),
        app_id=secrets.app_id,
        signing_secret=secrets.signing_secret,
        bot_token=secrets.bot_token,
        api=settings.slack_api,
        report_error=_report_error,
    )


def _report_error(error_id: str, error: Exception) -> None:
    logger.error("a listener failed", extra={"error_id": error_id, "error": redacted(repr(error))[:500]})


class _AwsActs(EndpointActs):
    """What the listeners may have done, by the verbs of the workflow on AWS."""

    def __init__(self, slack: WebClient) -> None:
        super().__init__(Origin.SLACK)
        self._slack = slack

    @property
    def team(self) -> str:
        return packed_catalogue().team

    def find_person(self, slack: str) -> Person | None:
        return packed_catalogue().find_person(team=self.team, slack=slack)

    def record_decision(
        self, *, person: Person | None, request_id: str, approves: bool, terms: Terms | None = None, reason: str = ""
    ) -> DecisionRecord | Refusal:
        answer = record_decision_verb.record_decision(
            request_id=request_id,
            person=person,
            approves=approves,
            terms=terms,
            reason=reason,
            catalogue=packed_catalogue(),
            requests=aws.requests(),
            groups=SlackGroups(self._slack),
            executions=aws.executions(),
            clock=now,
        )
        return audited(answer, "approve" if approves else "deny", person, request_id)

    def record_review(
        self, *, person: Person | None, request_id: str, is_justified: bool, note: str
    ) -> ReviewRecord | Refusal:
        answer = record_review_verb.record_review(
            request_id=request_id,
            person=person,
            is_justified=is_justified,
            note=note,
            catalogue=packed_catalogue(),
            requests=aws.requests(),
            executions=aws.executions(),
            clock=now,
        )
        return audited(answer, "review", person, request_id)

    def issue_token(self, *, person_id: str, request_id: str, view_id: str) -> None:
        aws.invocations().issue_token(request_id=request_id, view_id=view_id, person_id=person_id)

    def forget_preferences(self, person: Person) -> None:
        aws.requests().keep_preferences(person.person_id, Preferences())

    def show_progress(self, record: DecisionRecord) -> None:
        filed = aws.requests().require_request(record.request_id)
        if filed.approval_card is not None:
            self._notifier().show_decision(filed.approval_card, filed.request, record)

    def show_review(self, review: ReviewRecord) -> None:
        filed = aws.requests().require_request(review.request_id)
        if filed.review_card is not None:
            self._notifier().show_review(filed.review_card, filed.request, review)

    def refresh_home(self, person: Person) -> None:
        SlackHomes(self._slack).publish(person, self.read_overview(person))

    def find_location(self, name: str) -> Location | None:
        return packed_catalogue().locations.get(name)

    def find_request(self, request_id: str) -> RequestRecord | None:
        return aws.requests().find_request(request_id)

    def find_connection(self, *, person_id: str, request_id: str) -> ConnectionDetails | Refusal:
        return find_connection_verb.find_connection(
            request_id=request_id,
            person_id=person_id,
            stage=current_settings().stage,
            certificate_bundle=current_settings().certificate_bundle,
            requests=aws.requests(),
            grants=aws.grants(),
            now=now(),
        )

    def find_preferences(self, person: Person) -> Preferences:
        return aws.requests().find_preferences(person.person_id)

    def read_overview(self, person: Person) -> Overview:
        return read_overview_verb.read_overview(
            person=person, catalogue=packed_catalogue(), requests=aws.requests(), grants=aws.grants(), now=now()
        )

    def read_history(self, person: Person) -> Sequence[EndedRequest]:
        return aws.requests().ended_requests(person.person_id, most=_HISTORY)

    def read_cost(self) -> CostReport:
        return read_cost_verb.read_cost(
            catalogue=packed_catalogue(),
            durations=current_settings().durations,
            requests=aws.requests(),
            grants=aws.grants(),
            now=now(),
        )

    def _notifier(self) -> SlackNotifier:
        return SlackNotifier(self._slack, packed_catalogue())
