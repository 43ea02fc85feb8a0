"""Functions that need AWS and tell people something in Slack."""

from functools import lru_cache
from time import monotonic
from typing import Any

from chalice import Blueprint, Rate
from slack_sdk import WebClient

from chalicelib.aws.auth_tokens import RdsAuthTokens
from chalicelib.aws.clients import client
from chalicelib.aws.secrets import read_slack_secrets
from chalicelib.domain.endings import Course, Prepared, Purpose, StepError
from chalicelib.domain.executions import read_task_token
from chalicelib.domain.payloads import find_field, read_field, to_payload
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.functions import aws_collaborators as aws
from chalicelib.functions.clock import now
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger, observed
from chalicelib.settings import current_settings
from chalicelib.slack.homes import SlackHomes
from chalicelib.slack.members import SlackMembers
from chalicelib.slack.notifier import SlackNotifier
from chalicelib.slack.token_view import SlackTokenView
from chalicelib.slack.web_client import new_web_client
from chalicelib.workflow import announce_preparation as announce_preparation_verb
from chalicelib.workflow import close_approval as close_approval_verb
from chalicelib.workflow import deliver_connection as deliver_connection_verb
from chalicelib.workflow import issue_token as issue_token_verb
from chalicelib.workflow import reconcile_grants as reconcile_grants_verb
from chalicelib.workflow import refresh_homes as refresh_homes_verb
from chalicelib.workflow import remind_approvers as remind_approvers_verb
from chalicelib.workflow import report_outcome as report_outcome_verb
from chalicelib.workflow import request_approval as request_approval_verb
from chalicelib.workflow import request_review as request_review_verb
from chalicelib.workflow import tell_holder as tell_holder_verb
from chalicelib.workflow.find_database_instances import DatabaseOrder

blueprint = Blueprint(__name__)
_RECONCILIATION_MINUTES = 5
_TOKEN_SECONDS = 15 * 60


@blueprint.lambda_function()
@observed
def request_approval(event: Any, context: Any) -> Any:
    """``{request_id, task_token, entered_at, retries}`` → nothing; the state waits for its token."""
    request_approval_verb.request_approval(
        request_id=read_field(str, event, "request_id"),
        task_token=read_task_token(event, now=now()),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        executions=aws.executions(),
        notifier=_notifier(),
        clock=now,
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=True)
    return {}


@blueprint.lambda_function()
@observed
def remind_approvers(event: Any, context: Any) -> Any:
    """``{request_id, task_token, entered_at, retries}`` → nothing; the state waits for its token."""
    is_reminded = remind_approvers_verb.remind_approvers(
        request_id=read_field(str, event, "request_id"),
        task_token=read_task_token(event, now=now()),
        requests=aws.requests(),
        executions=aws.executions(),
        notifier=_notifier(),
    )
    logger.info("half time", extra={"is_reminded": is_reminded})
    return {}


@blueprint.lambda_function()
@observed
def close_approval(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{verdict, reason}``."""
    closing = close_approval_verb.close_approval(
        request_id=read_field(str, event, "request_id"),
        requests=aws.requests(),
        members=_members(),
        notifier=_notifier(),
        audit=aws.audit(),
        clock=now,
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=True)
    return to_payload(closing)


@blueprint.lambda_function()
@observed
def announce_preparation(event: Any, context: Any) -> Any:
    """``{request_id, order}`` → ``{}``."""
    announce_preparation_verb.announce_preparation(
        request_id=read_field(str, event, "request_id"),
        order=read_field(DatabaseOrder, event, "order"),
        requests=aws.requests(),
        notifier=_notifier(),
    )
    return {}


@blueprint.lambda_function()
@observed
def deliver_connection(event: Any, context: Any) -> Any:
    """``{request_id, order}`` → ``{}``."""
    deliver_connection_verb.deliver_connection(
        request_id=read_field(str, event, "request_id"),
        order=read_field(DatabaseOrder, event, "order"),
        stage=current_settings().stage,
        certificate_bundle=current_settings().certificate_bundle,
        requests=aws.requests(),
        grants=aws.grants(),
        bastions=aws.bastions(),
        host=aws.bastion_host(),
        notifier=_notifier(),
        audit=aws.audit(),
        clock=now,
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=False)
    return {}


@blueprint.lambda_function()
@observed
def tell_holder(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{}``."""
    settings = current_settings()
    tell_holder_verb.tell_holder(
        request_id=read_field(str, event, "request_id"),
        stage=settings.stage,
        certificate_bundle=settings.certificate_bundle,
        durations=settings.durations,
        requests=aws.requests(),
        grants=aws.grants(),
        notifier=_notifier(),
        clock=now,
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=False)
    return {}


@blueprint.lambda_function()
@observed
def request_review(event: Any, context: Any) -> Any:
    """``{request_id, task_token, entered_at, retries}`` → nothing; the state waits for its token."""
    request_review_verb.request_review(
        request_id=read_field(str, event, "request_id"),
        task_token=read_task_token(event, now=now()),
        catalogue=packed_catalogue(),
        requests=aws.requests(),
        executions=aws.executions(),
        notifier=_notifier(),
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=True)
    return {}


@blueprint.lambda_function()
@observed
def report_outcome(event: Any, context: Any) -> Any:
    """The document of an execution at its end → ``{outcome}``."""
    purpose = read_field(Purpose, event, "purpose")
    is_extension = purpose is Purpose.EXTEND
    confirmation = read_field(dict, event, "extension") if is_extension else read_field(dict, event, "confirmation")
    course = Course(
        purpose=purpose,
        policy_answer=read_field(str, event, "policy.answer"),
        policy_reason=read_field(str, event, "policy.reason"),
        verdict=read_field(str, event, "approval.verdict"),
        verdict_reason=read_field(str, event, "approval.reason"),
        is_confirmed=read_field(bool, confirmation, "is_confirmed"),
        confirmation_reason=read_field(str, confirmation, "reason"),
        bastion=read_field(Prepared, event, "prepared.bastion"),
        database_user=read_field(Prepared, event, "prepared.database_user"),
        failure=read_field(StepError, event, "failure"),
    )
    outcome = report_outcome_verb.report_outcome(
        request_id=read_field(str, event, "request_id"),
        course=course,
        receipt=find_field(Receipt, event, "receipt"),
        tunnels=read_field(ClosedTunnels, event, "tunnels"),
        requests=aws.requests(),
        grants=aws.grants(),
        notifier=_notifier(),
        audit=aws.audit(),
        clock=now,
    )
    _refresh_homes(read_field(str, event, "request_id"), is_for_others=not course.verdict)  # else they know
    return {"outcome": outcome}


@blueprint.lambda_function()
@observed
def issue_token(event: Any, context: Any) -> Any:
    """``{request_id, view_id, person_id}`` → ``{}``; the token goes to the open view and nowhere else."""
    settings = current_settings()
    issue_token_verb.issue_token(
        request_id=read_field(str, event, "request_id"),
        view_id=read_field(str, event, "view_id"),
        person_id=read_field(str, event, "person_id"),
        stage=settings.stage,
        certificate_bundle=settings.certificate_bundle,
        durations=settings.durations,
        requests=aws.requests(),
        grants=aws.grants(),
        members=_members(),
        tokens=RdsAuthTokens(),
        view=SlackTokenView(_slack()),
        audit=aws.audit(),
        clock=now,
    )
    return {}


@blueprint.schedule(Rate(_RECONCILIATION_MINUTES, unit=Rate.MINUTES))
@observed
def reconcile_grants(event: Any, context: Any) -> Any:
    """Any event → the repairs that were made, in words."""
    repairs = reconcile_grants_verb.reconcile_grants(
        catalogue=packed_catalogue(),
        requests=aws.requests(),
        grants=aws.grants(),
        executions=aws.executions(),
        members=_members(),
        audit=aws.audit(),
        clock=now,
    )
    logger.info("reconciliation", extra={"repairs": list(repairs), "count": len(repairs)})
    return list(repairs)


def _refresh_homes(request_id: str, *, is_for_others: bool) -> None:
    refresh_homes_verb.refresh_homes(
        request_id=request_id,
        is_for_others=is_for_others,
        catalogue=packed_catalogue(),
        requests=aws.requests(),
        grants=aws.grants(),
        homes=SlackHomes(_slack()),
        clock=now,
    )


def _members() -> SlackMembers:
    return SlackMembers(_slack(), packed_catalogue().team)


def _notifier() -> SlackNotifier:
    return SlackNotifier(_slack(), packed_catalogue())


def _slack() -> WebClient:
    return _slack_of(int(monotonic() // _TOKEN_SECONDS))


@lru_cache(maxsize=1)
def _slack_of(quarter: int) -> WebClient:
    """A client whose token was read in this quarter of an hour: somebody may rotate it while Lambda keeps the process."""
    settings = current_settings()
    secrets = read_slack_secrets(client("secretsmanager"), settings.slack_secret)
    return new_web_client(secrets.bot_token, settings.slack_api)
