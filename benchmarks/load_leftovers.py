"""What is wrong after the crowd of `benchmarks.load` is gone: requests that were lost, and what is left over. In sentences."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3

from benchmarks.load_people import Eyes, Life
from chalicelib.aws.attributes import from_attributes
from chalicelib.aws.audit_trail import PREFIX
from chalicelib.domain.audit import AuditEvent
from local import seed
from local.slack.api import SlackStandIn
from local.slack.block_checker import elements
from local.workspace import Workspace
from tests import crowd
from tests.faults.invariants import PRESSED
from tests.faults.trail import find_faults

_IN_THE_DATABASE = {
    "database users": r"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\_%'",
    "database sessions": r"SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'jit\_%'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The table as it was read."""

    items: Sequence[Mapping[str, Any]]

    def rows(self, prefix: str = "") -> list[Any]:
        """Its items, all or of one kind."""
        return [item for item in self.items if item["pk"].startswith(prefix)]

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each request."""
        requests = [item for item in self.rows("REQUEST#") if item["sk"] == "REQUEST"]
        return {item["request"]["request_id"]: item.get("outcome", "open") for item in requests}

    @property
    def receipts(self) -> set[str]:
        """The requests with a receipt that proves the end."""
        found = [item for item in self.rows(PREFIX) if item["event"] == AuditEvent.RECEIPT]
        return {item["pk"].removeprefix(PREFIX) for item in found if item["facts"]["is_revoked"]}


def read_ledger() -> Ledger:
    """Every item, as it is now."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=seed.TABLE, ConsistentRead=True)
    return Ledger(items=[from_attributes(item) for page in pages for item in page["Items"]])


def find_running(workspace: Workspace) -> list[str]:
    """The executions that run."""
    pages = boto3.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=workspace.state_machine, statusFilter="RUNNING")
    return [each["name"] for page in found for each in page["executions"]]


def find_up(workspace: Workspace) -> list[str]:
    """The instances that are neither stopped nor gone."""
    found = [each for each in workspace.instances() if each.state not in {"stopped", "terminated"}]
    return [f"{each.instance_id} {each.state}" for each in found]


def find_lost(lives: Sequence[Life], ledger: Ledger) -> Iterator[str]:
    """Nobody's request is lost, ends otherwise than was decided, or ends without a receipt or untold."""
    recorded, receipts = ledger.outcomes, ledger.receipts
    for life in lives:
        who, expected = crowd.name_of(life.number), "finished" if crowd.is_approved(life.number) else "denied"
        outcome = recorded.pop(life.request_id, "not recorded")
        if outcome != expected:
            yield f"{who}'s request {life.request_id} is {outcome}, not {expected}"
        if life.trouble:
            yield f"{who}: {life.trouble}"
        if outcome == "finished" and life.request_id not in receipts:
            yield f"{who} has no receipt that proves the end"
        if life.is_refused_after is False:
            yield f"{who} could still use the database after the end"
    yield from (f"{request_id} was recorded, and its asker was not told" for request_id in recorded)


def find_left_over(workspace: Workspace, ledger: Ledger, eyes: Eyes) -> Iterator[str]:
    """Nothing runs, stands open, is held or was told twice; and the trail verifies."""
    with workspace.database.connect() as connection:
        for kind, query in _IN_THE_DATABASE.items():
            for (number,) in connection.execute(query.encode()).fetchall():
                yield from [f"{number} {kind} are left over"] * bool(number)
    yield from (f"{name} still runs" for name in find_running(workspace))
    yield from (f"the bastion {each}" for each in find_up(workspace))
    active = boto3.client("ssm").describe_sessions(State="Active")["Sessions"]
    yield from (f"the tunnel {each['SessionId']} is open" for each in active)
    for item in ledger.items:
        yield from (f"{item['pk']} {what}" for what in _held(item))
    yield from _open_cards(workspace.slack)
    for (channel, request_id, text), times in eyes.posts.items():
        if times > 1:
            yield f"{channel} was told {times} times of {request_id}: {text[:80]}"
    yield from find_faults(ledger)


def _held(item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("leases"):
        yield f"has {len(item['leases'])} leases"
    if item["pk"].startswith("GRANT#") and item["state"] != "gone":
        yield f"is {item['state']}"
    if item.get("open_count") or any(name.startswith("slot:") for name in item):
        yield "holds a place for an open request"
    if item.get("watch") == "DECISION":
        yield "still asks for a decision"


def _open_cards(slack: SlackStandIn) -> Iterator[str]:
    for channel in slack.channels:
        for message in slack.messages(channel):
            left: Collection[str] = {element["action_id"] for _, element in elements(message["blocks"])} & PRESSED
            if left:
                yield f"a card in {channel} still has the buttons {sorted(left)}: {message['text'][:80]}"
