"""What each function is told by its environment: nothing more than it reads, which a test finds in the code."""

from collections.abc import Mapping
from typing import Any

_VALUES: Mapping[str, Any] = {
    "STAGE": {"Ref": "Stage"},
    "TABLE": {"Ref": "Ledger"},
    "AUDIT_LOG": {"Ref": "AuditLog"},
    "SLACK_SECRET": {"Ref": "SlackSecret"},
    "LAUNCH_TEMPLATE": {"Fn::Sub": "drawbridge-${Stage}"},
    "ISSUE_TOKEN_FUNCTION": {"Ref": "IssueToken"},
    # Composed: the workflow needs the functions' ARNs, and CloudFormation makes nothing in a circle.
    "STATE_MACHINE": {
        "Fn::Sub": "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:drawbridge-${Stage}-access-request"
    },
}
_NEEDS: Mapping[str, str] = {
    "APIHandler": "STAGE TABLE AUDIT_LOG SLACK_SECRET STATE_MACHINE ISSUE_TOKEN_FUNCTION",
    "CheckPolicy": "TABLE AUDIT_LOG",
    "WarmBastion": "TABLE LAUNCH_TEMPLATE",
    "RequestApproval": "TABLE SLACK_SECRET STATE_MACHINE",
    "RemindApprovers": "TABLE SLACK_SECRET STATE_MACHINE",
    "CloseApproval": "TABLE AUDIT_LOG SLACK_SECRET",
    "GrantExtension": "TABLE AUDIT_LOG STATE_MACHINE",
    "ConfirmApproval": "TABLE AUDIT_LOG STATE_MACHINE",
    "FindDatabaseInstances": "TABLE",
    "AnnouncePreparation": "TABLE SLACK_SECRET",
    "EnsureBastionRunning": "TABLE LAUNCH_TEMPLATE",
    "ProvisionDatabaseUser": "",
    "DeliverConnection": "STAGE TABLE AUDIT_LOG SLACK_SECRET LAUNCH_TEMPLATE",
    "CheckGrantEnd": "TABLE AUDIT_LOG",
    "TellHolder": "STAGE TABLE SLACK_SECRET",
    "HoldAccess": "TABLE STATE_MACHINE",
    "RevokeAccess": "",
    "CloseTunnels": "TABLE AUDIT_LOG",
    "ReportOutcome": "TABLE AUDIT_LOG SLACK_SECRET",
    "CheckReview": "TABLE AUDIT_LOG",
    "RequestReview": "TABLE SLACK_SECRET STATE_MACHINE",
    "IssueToken": "STAGE TABLE AUDIT_LOG SLACK_SECRET",
    "StopIdleBastions": "STAGE TABLE AUDIT_LOG LAUNCH_TEMPLATE",
    "ReconcileGrants": "TABLE AUDIT_LOG SLACK_SECRET STATE_MACHINE",
}


def function_settings(function: str) -> dict[str, Any]:
    """The variables of a function, by its logical id. Raises KeyError for one that is not listed."""
    return {f"DRAWBRIDGE_{name}": _VALUES[name] for name in _NEEDS[function].split()}
