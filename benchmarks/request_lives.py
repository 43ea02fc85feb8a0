"""Counts what each kind of request uses, in a local workspace: transitions, runs of functions, the table's units, log lines.

`python -m benchmarks.request_lives` writes the counts to request_lives.json, from which monthly_cost reckons. It knows no price.
"""

import json
import logging
import math
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from benchmarks.endpoint_calls import Call, intercept
from benchmarks.slack_acks import approved, automatic, denied, extended
from chalicelib.functions import conversation
from chalicelib.observability import logger
from local import seed
from local.aws import API_FUNCTION
from local.workspace import HOUSEKEEPING, SHORT, Workspace
from tests.e2e.people import People, eventually

COUNTS = Path(__file__).with_suffix(".json")
SECONDS = SHORT | {"ACCESS": 8, "IDLE_GRACE": 600, "APPROVAL_WAIT": 8}
TICKS = 20
HOLDS = 2
"""How often a grant is held: until its warning or its extension, and until its end."""
WARMS = "EnsureBastionRunning"
"""The state that asks again until the bastion is up: how often depends on EC2, so its retries are not counted here."""

Usage = dict[str, Any]


def reminded(people: People) -> None:
    """As approved, after the reminder at half of the time."""
    request_id = people.ask("alice", "my-aurora-location w 10s because")
    eventually("the reminder", lambda: "RemindApprovers" in people.workspace.states_entered(request_id))
    people.decide("carol", request_id)
    people.token("alice", request_id)
    people.wait_for_end(request_id)


def unanswered(people: People) -> None:
    """Asked, and nobody answers."""
    people.wait_for_end(people.ask("bob", "my-reports-location w 5m because"))


LIVES: dict[str, Callable[[People], None]] = {
    "automatic": automatic,
    "approved": approved,
    "approved after the reminder": reminded,
    "extended, ended by its holder": extended,
    "denied": denied,
    "nobody answered": unanswered,
}
"""Those that end by themselves hold a warning; `extended` holds one more execution, its extension's."""


class Meter(logging.Handler):
    """Watches the functions of a workspace: their runs, their units at the table, their own log lines."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._here, self._counting = threading.local(), threading.Lock()
        self.runs: list[tuple[str, float, float]] = []
        self.units: defaultdict[tuple[str, str], float] = defaultdict(float)
        # Of a session of its own, so that it is not watched.
        self.table = boto3.Session().client("dynamodb")
        boto3.setup_default_session()
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.register("provide-client-params.dynamodb", self._remember)
        boto3.DEFAULT_SESSION.events.register("after-call.dynamodb", self._hear)
        intercept(workspace.handlers[API_FUNCTION], self._make)
        self.setFormatter(logger.handlers[0].formatter)
        for name, handler in list(workspace.handlers.items()):
            workspace.handlers[name] = self._measured(name.rpartition("-")[2], handler)

    def emit(self, record: logging.LogRecord) -> None:
        """Count the line's bytes for the function that writes it."""
        self._add("log_bytes", len(self.format(record).encode()))

    def _measured(self, name: str, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def measured(event: Any, context: Any) -> Any:
            self._here.function = name
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return handler(event, context)
            finally:
                run = name, time.perf_counter() - wall, time.thread_time() - processor
                self._here.function = None
                with self._counting:
                    self.runs.append(run)

        return measured

    def _remember(self, params: Mapping[str, Any], **_: Any) -> None:
        self._here.asked = params

    def _hear(self, model: Any, parsed: Mapping[str, Any], **_: Any) -> None:
        if getattr(self._here, "function", None) is not None:
            self._count(model.name, self._here.asked, parsed)

    def _make(self, operation: str, asked: Mapping[str, Any], call: Call) -> dict[str, Any]:
        is_the_tables = "TableName" in asked or operation in {"BatchGetItem", "TransactWriteItems"}
        try:
            answer = call()
        except ClientError as error:
            if is_the_tables:
                self._count(operation, asked, error.response)
            raise
        if is_the_tables:
            self._count(operation, asked, answer)
        return answer

    def _count(self, operation: str, asked: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
        match operation:
            case "GetItem":
                self._add("reads", _reads(parsed.get("Item", {})))
            case "BatchGetItem":
                found = parsed["Responses"][seed.TABLE]
                keys = len(asked["RequestItems"][seed.TABLE]["Keys"])
                self._add("reads", sum(_reads(item) for item in found) + keys - len(found))
            case "Query":
                size = sum(_size(item) for item in parsed["Items"])
                units = max(1, math.ceil(size / 4096))
                self._add("reads", units if asked.get("ConsistentRead") else units / 2)
            case "PutItem" | "UpdateItem":
                self._add("writes", self._writes(asked))
            case "TransactWriteItems":
                items = [next(iter(action.values())) for action in asked["TransactItems"]]
                self._add("writes", 2 * sum(self._writes(item) for item in items))
            case other:
                raise NotImplementedError(f"{other}: say what it costs at the table")

    def _writes(self, asked: Mapping[str, Any]) -> int:
        """The table's and the index's units; a change of the index's key is a removal and an insertion there."""
        key = asked.get("Key") or {name: asked["Item"][name] for name in ("pk", "sk")}
        item = self.table.get_item(TableName=asked["TableName"], Key=key, ConsistentRead=True).get("Item", {})
        units = max(1, math.ceil(_size(item) / 1024))
        changes_key = any(name in str(asked.get("UpdateExpression")) for name in ("watch", "ends_at"))
        if changes_key:
            return 3 * units
        return 2 * units if "watch" in item else units

    def _add(self, what: str, amount: float) -> None:
        function = getattr(self._here, "function", None)
        if function is not None:
            with self._counting:
                self.units[function, what] += amount


def main() -> None:
    """Play every life, then let housekeeping take its turns, and write down what was counted."""
    with Workspace(seconds=SECONDS) as workspace:
        meter = Meter(workspace)
        logging.getLogger(logger.name).addHandler(meter)
        try:
            people = People(workspace)
            lives = {name: _count_life(workspace, meter, people, live) for name, live in LIVES.items()}
            housekeeping = _count_housekeeping(meter)
        finally:
            logging.getLogger(logger.name).removeHandler(meter)
        speakers = {API_FUNCTION, *_names_in(conversation)}
    counts = {
        "lives": lives,
        "housekeeping": housekeeping,
        "functions": _durations(meter),
        "read_the_secret": sorted(speakers & {name for name, *_ in meter.runs}),
    }
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _count_life(workspace: Workspace, meter: Meter, people: People, live: Callable[[People], None]) -> Usage:
    known, runs, units, stored = _executions(workspace), len(meter.runs), meter.units.copy(), _stored(meter)
    live(people)
    mine = _executions(workspace) - known
    functions = Counter(name for name, *_ in meter.runs[runs:] if name not in HOUSEKEEPING)
    used = {key: amount - units[key] for key, amount in meter.units.items() if key[0] not in HOUSEKEEPING}
    states, retries = Counter[str](), Counter[str]()
    for execution in mine:
        entered, retried = _history(execution)
        states += entered
        retries += retried
    functions[WARMS] -= retries.pop(WARMS, 0)
    if states["ConfirmApproval"] and states["HoldAccess"] != HOLDS:
        raise RuntimeError("A grant was over before its warning: this machine is too busy. Count again.")
    return {
        "executions": len(mine),
        "states": dict(sorted(states.items())),
        "retries": retries.total(),
        "functions": dict(sorted((+functions).items())),
        "stored_bytes": _stored(meter) - stored,
        **{
            what: sum(amount for key, amount in used.items() if key[1] == what)
            for what in ("reads", "writes", "log_bytes")
        },
    }


def _count_housekeeping(meter: Meter) -> dict[str, Usage]:
    """The mean of some turns in which there is nothing to do."""
    runs, units = len(meter.runs), meter.units.copy()
    eventually("more turns", lambda: len(meter.runs) - runs >= TICKS)
    taken = Counter(name for name, *_ in meter.runs[runs:])
    return {
        name: {
            what: round((meter.units[name, what] - units[name, what]) / taken[name], 1)
            for what in ("reads", "writes", "log_bytes")
        }
        for name in HOUSEKEEPING
    }


def _durations(meter: Meter) -> dict[str, dict[str, float]]:
    """Medians of all runs, in seconds."""
    return {
        name: {
            "wall": round(statistics.median(wall for each, wall, _ in meter.runs if each == name), 3),
            "processor": round(statistics.median(processor for each, _, processor in meter.runs if each == name), 3),
        }
        for name in sorted({name for name, *_ in meter.runs})
    }


def _executions(workspace: Workspace) -> set[str]:
    pages = boto3.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=workspace.state_machine)
    return {each["executionArn"] for page in found for each in page["executions"]}


def _history(execution: str) -> tuple[Counter[str], Counter[str]]:
    """How often each state was entered, and how often it was tried again."""
    events = boto3.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]
    entered, scheduled = Counter[str](), Counter[str]()
    names = {
        event["id"]: event["stateEnteredEventDetails"]["name"]
        for event in events
        if "stateEnteredEventDetails" in event
    }
    before = {event["id"]: event.get("previousEventId", 0) for event in events}
    entered.update(names.values())
    for event in events:
        if event["type"] == "TaskScheduled":
            cause = before[event["id"]]
            while cause and cause not in names:
                cause = before[cause]
            scheduled[names.get(cause, "?")] += 1
    return entered, Counter({name: times - entered[name] for name, times in scheduled.items() if times > entered[name]})


def _names_in(module: Any) -> set[str]:
    return {name.title().replace("_", "") for name in vars(module) if not name.startswith("_")}


def _stored(meter: Meter) -> int:
    """Bytes of the table as DynamoDB bills them: 100 more for each item, and for its copy in the index."""
    pages = meter.table.get_paginator("scan").paginate(TableName=seed.TABLE)
    return sum((_size(item) + 100) * (2 if "watch" in item else 1) for page in pages for item in page["Items"])


def _reads(item: Mapping[str, Any]) -> int:
    return max(1, math.ceil(_size(item) / 4096))


def _size(item: Mapping[str, Any]) -> int:
    """Bytes of an item with its names, as DynamoDB reckons them, to a few bytes."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, inner),) = value.items()
    match kind:
        case "M":
            return 3 + sum(len(name.encode()) + 1 + _value_size(each) for name, each in inner.items())
        case "L":
            return 3 + sum(1 + _value_size(each) for each in inner)
        case "SS" | "NS":
            return sum(len(each.encode()) for each in inner)
        case _:
            return len(str(inner).encode())


if __name__ == "__main__":
    main()
