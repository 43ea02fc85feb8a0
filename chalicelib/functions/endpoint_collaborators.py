"""What the Slack endpoint is built from: the ledgers, the workflow and its secret, by clients that its cold start can afford."""

from functools import cache

from chalicelib.aws.audit_trail import CloudWatchAuditLog, DynamoAuditTrail
from chalicelib.aws.executions import StepFunctionsExecutions
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.invocations import LambdaInvocations
from chalicelib.aws.json_client import READ_SECONDS, Connection, JsonClient, new_session
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.functions.clock import now
from chalicelib.observability import logger
from chalicelib.settings import current_settings


@cache
def client(service: str) -> JsonClient:
    """The client of an AWS service, in the function's own region."""
    return JsonClient(service, _connection())


@cache
def _connection() -> Connection:
    settings = current_settings()
    access_key, secret_key, token = settings.aws_credentials
    return Connection(
        region=settings.aws_region,
        access_key=access_key,
        secret_key=secret_key,
        token=token,
        endpoint=settings.aws_endpoint,
        trace=lambda: current_settings().trace,
        session=new_session(settings.aws_read_seconds or READ_SECONDS),
    )


@cache
def _table() -> Table:
    return Table(client("dynamodb"), current_settings().table, logger.error)


def requests() -> DynamoRequestLedger:
    """Requests and decisions."""
    return DynamoRequestLedger(_table())


def grants() -> DynamoGrantLedger:
    """Grants."""
    return DynamoGrantLedger(_table())


def audit() -> DynamoAuditTrail:
    """The audit trail, to which the endpoint adds whom it refused."""
    log = CloudWatchAuditLog(client("logs"), current_settings().audit_log, now)
    return DynamoAuditTrail(_table(), log, logger.warning)


def executions() -> StepFunctionsExecutions:
    """The workflow."""
    return StepFunctionsExecutions(client("stepfunctions"), current_settings().state_machine)


def invocations() -> LambdaInvocations:
    """The function that makes tokens."""
    return LambdaInvocations(client("lambda"), current_settings().issue_token_function)
