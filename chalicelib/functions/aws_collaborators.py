"""What the functions outside the VPC are built from: adapters on AWS, made when first asked for."""

from functools import cache

from chalicelib.aws.audit_trail import CloudWatchAuditLog, DynamoAuditTrail
from chalicelib.aws.bastion_host import Ec2BastionHost
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.clients import client, quick_client
from chalicelib.aws.executions import StepFunctionsExecutions
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.instances import RdsDirectory
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.aws.tunnels import SsmTunnels
from chalicelib.functions.clock import now
from chalicelib.observability import logger
from chalicelib.settings import current_settings


@cache
def _table() -> Table:
    return Table(client("dynamodb"), current_settings().table, logger.error)


def requests() -> DynamoRequestLedger:
    """Requests and decisions."""
    return DynamoRequestLedger(_table())


def grants() -> DynamoGrantLedger:
    """Grants."""
    return DynamoGrantLedger(_table())


def bastions() -> DynamoBastionLedger:
    """Bastions and leases."""
    return DynamoBastionLedger(_table())


def audit() -> DynamoAuditTrail:
    """The audit trail."""
    log = CloudWatchAuditLog(quick_client("logs"), current_settings().audit_log, now)
    return DynamoAuditTrail(_table(), log, logger.warning)


def bastion_host() -> Ec2BastionHost:
    """Instances."""
    return Ec2BastionHost(ec2=client("ec2"), ssm=client("ssm"), launch_template=current_settings().launch_template)


def tunnels() -> SsmTunnels:
    """SSM sessions."""
    return SsmTunnels(client("ssm"))


def executions() -> StepFunctionsExecutions:
    """The workflow."""
    return StepFunctionsExecutions(client("stepfunctions"), current_settings().state_machine)


def directory() -> RdsDirectory:
    """Database instances."""
    return RdsDirectory(lambda region: client("rds", region))
