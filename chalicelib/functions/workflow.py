"""Functions that need AWS and nothing else. Each parses, calls one verb and serialises."""

from typing import Any

from chalice import Blueprint, Rate

from chalicelib.domain.executions import read_task_token
from chalicelib.domain.payloads import read_field, to_payload
from chalicelib.functions import aws_collaborators as aws
from chalicelib.functions.clock import now
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger, observed
from chalicelib.settings import current_settings
from chalicelib.workflow import check_grant_end as check_grant_end_verb
from chalicelib.workflow import check_policy as check_policy_verb
from chalicelib.workflow import check_review as check_review_verb
from chalicelib.workflow import close_tunnels as close_tunnels_verb
from chalicelib.workflow import confirm_approval as confirm_approval_verb
from chalicelib.workflow import ensure_bastion_running as ensure_bastion_running_verb
from chalicelib.workflow import find_database_instances as find_database_instances_verb
from chalicelib.workflow import grant_extension as grant_extension_verb
from chalicelib.workflow import hold_access as hold_access_verb
from chalicelib.workflow import stop_idle_bastions as stop_idle_bastions_verb
from chalicelib.workflow import warm_bastion as warm_bastion_verb

blueprint = Blueprint(__name__)
_HOUSEKEEPING_MINUTES = 5


@blueprint.lambda_function()
@observed
def check_policy(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{answer, reason, remind_seconds, wait_seconds}``: how long until a reminder, and after it."""
    outcome = check_policy_verb.check_policy(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        audit=aws.audit(),
        clock=now,
    )
    remind_seconds, wait_seconds = current_settings().durations.approval_waits
    return {
        "answer": outcome.answer,
        "reason": outcome.reason,
        "remind_seconds": remind_seconds,
        "wait_seconds": wait_seconds,
    }


@blueprint.lambda_function()
@observed
def warm_bastion(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{is_warming}``."""
    is_warming = warm_bastion_verb.warm_bastion(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        bastions=aws.bastions(),
        host=aws.bastion_host(),
        clock=now,
    )
    return {"is_warming": is_warming}


@blueprint.lambda_function()
@observed
def confirm_approval(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{is_confirmed, reason}``."""
    confirmation = confirm_approval_verb.confirm_approval(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        executions=aws.executions(),
        audit=aws.audit(),
        clock=now,
    )
    return to_payload(confirmation)


@blueprint.lambda_function()
@observed
def grant_extension(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{is_confirmed, reason}``."""
    confirmation = grant_extension_verb.grant_extension(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        bastions=aws.bastions(),
        executions=aws.executions(),
        audit=aws.audit(),
        clock=now,
    )
    return to_payload(confirmation)


@blueprint.lambda_function()
@observed
def find_database_instances(event: Any, context: Any) -> Any:
    """``{request_id, for_provisioning}`` → ``{order, provisioner}``: what to carry out, and whose functions are to."""
    order = find_database_instances_verb.find_database_instances(
        request_id=read_field(str, event, "request_id"),
        for_provisioning=read_field(bool, event, "for_provisioning"),
        requests=aws.requests(),
        grants=aws.grants(),
        directory=aws.directory(),
        clock=now,
    )
    return {"order": to_payload(order), "provisioner": order.provisioner}


@blueprint.lambda_function()
@observed
def ensure_bastion_running(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{instance_id}``."""
    instance_id = ensure_bastion_running_verb.ensure_bastion_running(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        bastions=aws.bastions(),
        host=aws.bastion_host(),
        clock=now,
    )
    return {"instance_id": instance_id}


@blueprint.lambda_function()
@observed
def check_grant_end(event: Any, context: Any) -> Any:
    """``{request_id, end_now}`` → ``{is_ending, has_news, wait_seconds}``."""
    end = check_grant_end_verb.check_grant_end(
        request_id=read_field(str, event, "request_id"),
        end_now=read_field(bool, event, "end_now"),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        audit=aws.audit(),
        clock=now,
    )
    return to_payload(end)


@blueprint.lambda_function()
@observed
def hold_access(event: Any, context: Any) -> Any:
    """``{request_id, task_token, entered_at, retries}`` → nothing; the state waits for its token."""
    hold_access_verb.hold_access(
        request_id=read_field(str, event, "request_id"),
        task_token=read_task_token(event, now=now()),
        durations=current_settings().durations,
        requests=aws.requests(),
        grants=aws.grants(),
        executions=aws.executions(),
        clock=now,
    )
    return {}


@blueprint.lambda_function()
@observed
def check_review(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{is_closed, wait_seconds}``."""
    review = check_review_verb.check_review(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        requests=aws.requests(),
        audit=aws.audit(),
        clock=now,
    )
    return to_payload(review)


@blueprint.lambda_function()
@observed
def close_tunnels(event: Any, context: Any) -> Any:
    """``{request_id}`` → ``{tunnels}``."""
    tunnels = close_tunnels_verb.close_tunnels(
        request_id=read_field(str, event, "request_id"),
        catalogue=packed_catalogue(),
        requests=aws.requests(),
        grants=aws.grants(),
        bastions=aws.bastions(),
        tunnels=aws.tunnels(),
        audit=aws.audit(),
        clock=now,
    )
    return {"tunnels": to_payload(tunnels)}


@blueprint.schedule(Rate(_HOUSEKEEPING_MINUTES, unit=Rate.MINUTES))
@observed
def stop_idle_bastions(event: Any, context: Any) -> Any:
    """Any event → what was done with each bastion that was ever used."""
    turns = stop_idle_bastions_verb.stop_idle_bastions(
        catalogue=packed_catalogue(),
        stage=current_settings().stage,
        durations=current_settings().durations,
        grants=aws.grants(),
        bastions=aws.bastions(),
        host=aws.bastion_host(),
        tunnels=aws.tunnels(),
        audit=aws.audit(),
        clock=now,
    )
    logger.info("housekeeping", extra={"bastions": to_payload(turns)})
    return to_payload(turns)
