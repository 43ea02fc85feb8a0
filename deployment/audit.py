"""The verbs of the audit trail: is it as it was written, and all of it as JSON Lines. They read and change nothing.

What is read is kept in a private file on disk until the end, so that memory does not grow with the trail.
"""

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.aws.attributes import from_attributes
from chalicelib.aws.audit_trail import PREFIX, read_entry, read_line
from chalicelib.aws.clients import client
from chalicelib.aws.errors import translated
from chalicelib.domain.audit import AuditEntry, AuditLine, Fault, LineKind, verify_chain
from chalicelib.domain.errors import AccessError, LedgerUnavailableError, SettingsError

_CLEAN, _FOUND, _COULD_NOT_LOOK = range(3)
_SETTLING = timedelta(minutes=1)
"""A line younger than this, when the reading begins, may be ahead of its entry."""
_DOLLARS_PER_MILLION_READS = 0.125
"""DynamoDB on demand, us-east-1."""
_COPY = """
CREATE TABLE entries (trail TEXT, number INTEGER, content TEXT, hash TEXT);
CREATE TABLE lines (trail TEXT, number INTEGER, hash TEXT, kind TEXT, is_settled INTEGER);
"""
_INDEX = """
CREATE INDEX entries_by_trail ON entries (trail, number);
CREATE INDEX lines_by_trail ON lines (trail);
"""
_MEANINGS = {
    Fault.CHANGED: "what it says does not match its hash: somebody changed it",
    Fault.REPLACED: "the log knows another entry at this place: somebody put this one there instead",
    Fault.UNKNOWN: "the log does not know it: it was not written by Drawbridge",
    Fault.OUT_OF_PLACE: "it does not follow the entry before it: somebody moved entries or wrote the chain anew",
    Fault.REPEATED: "several entries bear this number: somebody put one there",
    Fault.MISSING: "there is no such entry, though the log or a later entry proves that there was: somebody deleted it",
    Fault.NEVER_WRITTEN: "it was announced and is not there: its function broke off, or the last entry was deleted before the "
    "log heard that it stood",
    Fault.UNANNOUNCED: "it says that the log did not answer when it was written; the log of its function has its hash in a line "
    "'audit line not written'",
}
_DESCRIPTION = """
verify compares the audit trail in the ledger with the hashes in the log, and names the first bad entry of each trail; doubts can
come about without anybody's tampering. export prints it as JSON Lines and checks nothing: one object per entry, by trail and
number, with trail (a request, or "person ..." or "bastion ..."), number, at (UTC), event, facts, previous and hash.
"""
_ENDS = """
Without --request either reads the whole ledger once: $0.125 for each million read units, which are 4 KB. Your AWS identity needs
dynamodb:Scan and dynamodb:Query on the ledger, logs:FilterLogEvents on the audit log, and cloudformation:DescribeStackResource
unless both are named. Exit status: 0 nothing is wrong, 1 something is, 2 it could not be looked at.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``verify`` and of ``export``: the same."""
    parser.description, parser.epilog = _DESCRIPTION, _ENDS
    parser.add_argument("--stage", metavar="S", default="prod", help="the deployment (%(default)s)")
    parser.add_argument("--request", metavar="R-…", default="", help="only this request's trail")
    parser.add_argument("--since", metavar="DAY", default="", help="only trails that began on this day (UTC) or later")
    parser.add_argument("--table", metavar="NAME", default="", help="the ledger, where no stack says it")
    parser.add_argument("--log-group", metavar="NAME", default="", help="the audit log, where no stack says it")


def verify(given: argparse.Namespace) -> int:
    """Print the first bad entry of each trail, the doubts, and counts. Returns the exit status."""
    try:
        with closing(_Copy.read(_Scope.of(given), with_lines=True)) as copy:
            return _judge(copy)
    except AccessError as error:
        print(error, file=sys.stderr)
        return _COULD_NOT_LOOK


def export(given: argparse.Namespace) -> int:
    """Print every entry as a line of JSON. Returns the exit status."""
    try:
        with closing(_Copy.read(_Scope.of(given), with_lines=False)) as copy:
            for trail in copy.trails():
                for entry in copy.entries(trail):
                    print(json.dumps(to_record(entry), ensure_ascii=False))
            print(copy.price(), file=sys.stderr)
            return _CLEAN
    except AccessError as error:
        print(error, file=sys.stderr)
        return _COULD_NOT_LOOK


def to_record(entry: AuditEntry) -> dict[str, Any]:
    """An entry as it is exported: its place, then what it says in a fixed order, then whatever else somebody put there."""
    content = dict(entry.content)
    said = {name: content.pop(name, None) for name in ("at", "event", "facts", "previous")}
    return {"trail": entry.trail, "number": entry.number, **said, "hash": entry.hash, **dict(sorted(content.items()))}


def _judge(copy: "_Copy") -> int:
    trails = bad = doubts = 0
    for trail in copy.trails():
        trails += 1
        findings = verify_chain(copy.entries(trail), copy.lines(trail))
        faults = [finding for finding in findings if not finding.fault.is_doubt]
        for finding in faults[:1]:
            more = f" ({len(faults) - 1} more in this trail)" if len(faults) > 1 else ""
            print(f"{trail}, entry {finding.number}: {finding.fault}: {_MEANINGS[finding.fault]}{more}")
        bad += bool(faults)
        for finding in findings:
            if finding.fault.is_doubt:
                doubts += 1
                print(f"doubt: {trail}, entry {finding.number}: {finding.fault}: {_MEANINGS[finding.fault]}")
    if copy.strange_lines:
        doubts += 1
        print(f"doubt: {copy.strange_lines} line(s) of the log are none of Drawbridge's; they prove nothing")
    print(
        f"{copy.count('entries')} entries in {trails} trails, {copy.count('lines')} lines of the log: "
        f"{bad} trails with something wrong, {doubts} doubts."
    )
    print(copy.price(), file=sys.stderr)
    return _FOUND if bad else _CLEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What to read, and of what deployment."""

    table: str
    log_group: str
    request: str
    since: datetime | None

    @classmethod
    def of(cls, given: argparse.Namespace) -> "_Scope":
        return cls(
            table=given.table or _find_name(given.stage, "Ledger"),
            log_group=given.log_group or _find_name(given.stage, "AuditLog"),
            request=given.request,
            since=_read_day(given.since) if given.since else None,
        )


def _find_name(stage: str, logical_id: str) -> str:
    stack = f"drawbridge-{stage}"
    with translated(LedgerUnavailableError, f"The stack {stack} could not be asked for its {logical_id}"):
        answer = client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    return str(answer["StackResourceDetail"]["PhysicalResourceId"])


def _read_day(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"'{text[:40]}' is no day. Write it like 2026-11-01.") from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


@dataclass(slots=True, kw_only=True)
class _Copy:
    """What was read, in a file that nobody else sees and that is gone once it is closed."""

    scope: _Scope
    book: sqlite3.Connection
    units: float = 0.0
    strange_lines: int = 0
    pages: int = field(default=0)

    @classmethod
    def read(cls, scope: _Scope, *, with_lines: bool) -> "_Copy":
        """Entries first: each was announced before it was written, so its line is there by the time the lines are read."""
        copy = cls(scope=scope, book=sqlite3.connect(""))
        copy.book.executescript(_COPY)
        settled_by = datetime.now(UTC) - _SETTLING
        for page in copy._entry_pages():
            rows = [(entry.trail, entry.number, _to_text(entry), entry.hash) for entry in page]
            copy.book.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        for lines in copy._line_pages(settled_by) if with_lines else ():
            told = [(line.trail, line.number, line.hash, line.kind.value, line.is_settled) for line in lines]
            copy.book.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?)", told)
        copy.book.executescript(_INDEX)
        return copy

    def close(self) -> None:
        self.book.close()

    def trails(self) -> Iterator[str]:
        """Every trail of the scope, in order; those that only the log knows too."""
        began = self.scope.since.isoformat() if self.scope.since else ""
        # By the log as well: an instant in the ledger may have been changed.
        query = """
            SELECT trail FROM entries WHERE ? = '' OR number = 1 AND json_extract(content, '$.at') >= ?
            UNION SELECT trail FROM lines WHERE ? = '' OR number = 1 ORDER BY trail
        """
        for (trail,) in self.book.execute(query, (began, began, began)):
            yield trail

    def entries(self, trail: str) -> Iterator[AuditEntry]:
        rows = self.book.execute(
            "SELECT number, content, hash FROM entries WHERE trail = ? ORDER BY number, rowid", (trail,)
        )
        for number, content, digest in rows:
            yield AuditEntry(trail=trail, number=number, content=json.loads(content), hash=digest)

    def lines(self, trail: str) -> Iterator[AuditLine]:
        rows = self.book.execute("SELECT DISTINCT number, hash, kind, is_settled FROM lines WHERE trail = ?", (trail,))
        for number, digest, kind, is_settled in rows:
            yield AuditLine(trail=trail, number=number, hash=digest, kind=LineKind(kind), is_settled=bool(is_settled))

    def count(self, what: str) -> int:
        """How many entries or lines were read, those outside the scope too."""
        return int(self.book.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608  one of our two tables

    def price(self) -> str:
        dollars = self.units * _DOLLARS_PER_MILLION_READS / 1_000_000
        return f"This read {self.pages} pages and {self.units:.0f} read units of DynamoDB, about ${dollars:.4f}."

    def _entry_pages(self) -> Iterator[list[AuditEntry]]:
        """The one trail that is asked for, or the whole ledger, of which the rest is passed over: entries have no index."""
        dynamodb, reading = client("dynamodb"), {"TableName": self.scope.table, "ConsistentRead": True}
        reading["ReturnConsumedCapacity"] = "TOTAL"
        if self.scope.request:
            pages = dynamodb.get_paginator("query").paginate(
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": f"{PREFIX}{self.scope.request}"}},
                **reading,
            )
        else:
            pages = dynamodb.get_paginator("scan").paginate(
                FilterExpression="begins_with(pk, :prefix)",
                ExpressionAttributeValues={":prefix": {"S": PREFIX}},
                **reading,
            )
        with translated(LedgerUnavailableError, f"The ledger {self.scope.table} could not be read"):
            for page in pages:
                self.pages += 1
                self.units += float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0))
                yield [_read_item(item) for item in page["Items"]]

    def _line_pages(self, settled_by: datetime) -> Iterator[list[AuditLine]]:
        asked: dict[str, Any] = {"logGroupName": self.scope.log_group}
        if self.scope.request:
            asked["filterPattern"] = f'"{self.scope.request}"'
        if self.scope.since:
            asked["startTime"] = int(self.scope.since.timestamp() * 1000)
        with translated(LedgerUnavailableError, f"The audit log {self.scope.log_group} could not be read"):
            for page in client("logs").get_paginator("filter_log_events").paginate(**asked):
                self.pages += 1
                yield list(self._read_lines(page["events"], settled_by))

    def _read_lines(self, events: list[Any], settled_by: datetime) -> Iterator[AuditLine]:
        for event in events:
            line = read_line(event["message"])
            if line is None:
                self.strange_lines += 1
            elif self.scope.request in {"", line.trail}:
                yield replace(line, is_settled=event["timestamp"] <= settled_by.timestamp() * 1000)


def _read_item(item: Any) -> AuditEntry:
    place = {name: item.get(name, {}) for name in ("pk", "sk", "hash")}
    keys = {name: value.get("S", "") for name, value in place.items()}
    try:
        return read_entry(from_attributes(item) | keys)
    except (TypeError, ValueError):
        # No entry holds such a value: it counts as changed.
        return read_entry({"unreadable": repr(item), **keys})


def _to_text(entry: AuditEntry) -> str:
    return json.dumps(entry.content)
