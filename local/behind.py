"""What runs behind Slack, for people to look at: executions, bastion, database, tunnels, money. Reads; changes nothing."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from local import seed
from local.postgres import PostgresServer
from local.ssm.server import Instance

Row = tuple[str, str, str]
_MOST_EXECUTIONS = 8
_DOLLARS_AN_HOUR, _PRICED = 0.0042, "t4g.nano"
_ROLES = r"""
SELECT rolname, rolcanlogin, (SELECT count(*) FROM pg_stat_activity WHERE usesysid = pg_roles.oid)
FROM pg_roles WHERE rolname LIKE 'jit\_%' ORDER BY rolname
"""


class Behind:
    """Looks at one running workspace. Each row is a name, its state, and what else is to be said."""

    def __init__(
        self,
        *,
        state_machine: str,
        states_entered: Callable[[str], list[str]],
        instances: Callable[[], Sequence[Instance]],
        bastion_seconds: Callable[[], float],
        database: PostgresServer,
    ) -> None:
        self._state_machine, self._states_entered, self._database = state_machine, states_entered, database
        self._instances, self._bastion_seconds = instances, bastion_seconds
        self._stepfunctions: Any = boto3.client("stepfunctions")
        self._ssm: Any = boto3.client("ssm")
        self._dynamodb: Any = boto3.client("dynamodb")
        self._finished: dict[str, Row] = {}

    def facts(self) -> dict[str, Any]:
        """The sections in the order in which a request passes them; `none` is said of an empty one."""
        parts = {
            "Executions": (self._executions, "No request yet."),
            "Bastion": (self._bastions, "No instance: nothing to pay for."),
            "Database users": (self._database_users, "Nobody has access."),
            "Open tunnels": (self._tunnels, "None."),
            "Money so far, estimated": (self._money, ""),
        }
        return {"sections": [{"title": title, "rows": _rows(*part), "none": part[1]} for title, part in parts.items()]}

    def _executions(self) -> Iterator[Row]:
        listed = self._stepfunctions.list_executions(stateMachineArn=self._state_machine)["executions"]
        newest = sorted(listed, key=lambda each: each["startDate"], reverse=True)[:_MOST_EXECUTIONS]
        for execution in newest:
            name, status = execution["name"], execution["status"]
            row = self._finished.get(name)
            if row is None:
                states = self._states_entered(name)
                row = (name, states[-1] if states else "starting", status.lower())
            if status != "RUNNING":
                self._finished[name] = row
            yield row

    def _bastions(self) -> Iterator[Row]:
        yield from ((each.instance_id, each.state, "") for each in self._instances())
        found = self._dynamodb.scan(
            TableName=seed.TABLE, FilterExpression="sk = :sk", ExpressionAttributeValues={":sk": {"S": "BASTION"}}
        )
        for item in found["Items"]:
            leases = ", ".join(sorted(item.get("leases", {}).get("M", {})))
            name = item["pk"]["S"].removeprefix("BASTION#")
            yield f"{name}, by the ledger", item["state"]["S"], f"leased to {leases}" if leases else "no lease"

    def _database_users(self) -> Iterator[Row]:
        with self._database.connect(connect_timeout=2) as connection:
            for role, can_log_in, sessions in connection.execute(_ROLES):
                yield role, "login on" if can_log_in else "login off", f"{sessions} session{'s' * (sessions != 1)}"

    def _tunnels(self) -> Iterator[Row]:
        for session in self._ssm.describe_sessions(State="Active")["Sessions"]:
            seconds = (datetime.now(UTC) - session["StartDate"]).total_seconds()
            yield session["SessionId"], f"{seconds:.0f} s", session.get("Reason", "no reason given")

    def _money(self) -> Iterator[Row]:
        seconds = self._bastion_seconds()
        yield f"{seconds:.0f} s of bastion", f"${seconds / 3600 * _DOLLARS_AN_HOUR:.6f}", ""
        yield _PRICED, f"${_DOLLARS_AN_HOUR} an hour", "list price, us-east-1"
        yield "not counted", "disk, calls, states", ""


def _rows(find: Any, _: str) -> list[Row]:
    try:
        return list(find())
    except (BotoCoreError, ClientError, psycopg.Error) as error:
        return [("not to be seen", type(error).__name__, "it may just be ending")]
