"""The functions in the VPC. They make no AWS call: catalogue packed, credentials from the environment, tokens signed locally."""

from typing import Any

from chalice import Blueprint

from chalicelib.aws.auth_tokens import RdsAuthTokens
from chalicelib.domain.payloads import find_field, read_field, to_payload
from chalicelib.domain.receipts import Strangers
from chalicelib.functions.clock import now, pause
from chalicelib.functions.packed_catalogue import packed_catalogue
from chalicelib.observability import logger, observed
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from chalicelib.settings import current_settings
from chalicelib.workflow import provision_database_user as provision_database_user_verb
from chalicelib.workflow import revoke_access as revoke_access_verb
from chalicelib.workflow.find_database_instances import DatabaseOrder

blueprint = Blueprint(__name__)


@blueprint.lambda_function()
@observed
def provision_database_user(event: Any, context: Any) -> Any:
    """``{request_id, order}`` → ``{}``."""
    order = read_field(DatabaseOrder, event, "order")
    strangers = provision_database_user_verb.provision_database_user(
        order=order,
        catalogue=packed_catalogue(),
        durations=current_settings().durations,
        database=_database(order),
        clock=now,
    )
    if strangers != Strangers():
        logger.warning("users without a grant", extra={"strangers": to_payload(strangers)})
    return {}


@blueprint.lambda_function()
@observed
def revoke_access(event: Any, context: Any) -> Any:
    """``{request_id, order}`` → ``{receipt}``, null when nothing had been ordered."""
    order = find_field(DatabaseOrder, event, "order")
    receipt = revoke_access_verb.revoke_access(order=order, database=_database(order))
    return {"receipt": to_payload(receipt)}


def _database(order: DatabaseOrder | None) -> PostgresDatabaseAdmin:
    settings, tokens = current_settings(), RdsAuthTokens()
    region = order.facts.region if order and order.facts else ""
    return PostgresDatabaseAdmin(
        sign=lambda endpoint, user: tokens.sign(endpoint, user, region),
        certificate_bundle=settings.database_certificates,
        hostaddr=settings.database_address,
        clock=now,
        connect_seconds=settings.durations.database_connect,
        pause=pause,
    )
