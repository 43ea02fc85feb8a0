"""The audit trail: items in the ledger, each holding the hash of the one before, and lines in a log that is only appended to."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code, translated
from chalicelib.aws.table import Item, Table, Write
from chalicelib.domain.audit import (
    GIVING,
    AuditEntry,
    AuditEvent,
    AuditLine,
    LineKind,
    is_same_occurrence,
    next_entry,
)
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.payloads import to_payload

PREFIX = "AUDIT#"
_TRIES = 8
_WINDOW = 25
"""How many of the newest entries are looked through for the same occurrence: one page, however long a trail gets."""
_NOT_CONTENT = {"pk", "sk", "hash"}


class CloudWatchAuditLog:
    """The lines. One stream a day, for all functions: CloudWatch Logs takes writers side by side.

    The client should have short waits: whoever ends an access waits for it too.
    """

    def __init__(self, logs: Any, group: str, clock: Callable[[], datetime]) -> None:
        self._logs = logs
        self._group = group
        self._clock = clock

    def write(self, line: AuditLine) -> None:
        """Append one line. Raises LedgerUnavailableError."""
        now = self._clock()
        stream = f"{now:%Y-%m-%d}"
        message = json.dumps(to_line(line), separators=(",", ":"))
        event = {"timestamp": int(now.timestamp() * 1000), "message": message}
        with translated(LedgerUnavailableError, "The audit log did not answer; try again in a minute"):
            try:
                answer = self._put(stream, event)
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                self._ensure_stream(stream)
                answer = self._put(stream, event)
        if answer.get("rejectedLogEventsInfo"):
            raise LedgerUnavailableError("The audit log did not take a line; the clock of the function may be wrong.")

    def _put(self, stream: str, event: Mapping[str, Any]) -> Any:
        return self._logs.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=[event])

    def _ensure_stream(self, stream: str) -> None:
        try:
            self._logs.create_log_stream(logGroupName=self._group, logStreamName=stream)
        except ClientError as error:
            if error_code(error) != "ResourceAlreadyExistsException":
                raise


class DynamoAuditTrail:
    """Items ``AUDIT#<trail>`` numbered from 1. An entry is written once and never changed.

    ``report`` hears of each line that the log did not take although the entry was written.
    """

    def __init__(self, table: Table, log: CloudWatchAuditLog, report: Callable[[str], object]) -> None:
        self._table = table
        self._log = log
        self._report = report

    def append(self, trail: str, event: AuditEvent, facts: Mapping[str, Any], *, at: datetime) -> None:
        """Add an entry after the last one, unless the same event with the same facts is among the newest already.

        Raises LedgerUnavailableError when others keep being faster, when the ledger does not answer, and for what leads to
        access (``GIVING``) when the log does not.
        """
        content = {"event": to_payload(event), "at": to_payload(at), "facts": to_payload(facts)}
        for _ in range(_TRIES):
            newest = [read_entry(item) for item in self._table.query(f"{PREFIX}{trail}", last=_WINDOW)]
            if (standing := next((each for each in newest if is_same_occurrence(each, content)), None)) is not None:
                self._confirm(standing)
                return
            entry = self._announce(trail, newest[0] if newest else None, content)
            if self._table.write(
                Write(
                    key=(f"{PREFIX}{trail}", place_of(entry.number)),
                    item={**entry.content, "hash": entry.hash},
                    condition="attribute_not_exists(pk)",
                )
            ).is_done:
                if not entry.is_unannounced:
                    self._confirm(entry)
                return
        raise LedgerUnavailableError(f"The audit entry '{event}' of {trail} could not be written; try again.")

    def newest_facts(self, trail: str) -> Mapping[AuditEvent, Mapping[str, Any]]:
        """The facts of the newest entry of each event, among the newest entries. Raises LedgerUnavailableError."""
        newest = self._table.query(f"{PREFIX}{trail}", last=_WINDOW)
        return {AuditEvent(item["event"]): item["facts"] for item in reversed(newest)}

    def _announce(self, trail: str, last: AuditEntry | None, content: Mapping[str, Any]) -> AuditEntry:
        entry = next_entry(trail, last, content)
        try:
            self._log.write(line_of(entry, LineKind.ANNOUNCED))
        except LedgerUnavailableError as error:
            if content["event"] in GIVING:
                raise
            entry = next_entry(trail, last, {**content, "unannounced": True})
            self._report(f"audit line not written: {trail} {entry.number} {entry.hash}: {error}")
        return entry

    def _confirm(self, entry: AuditEntry) -> None:
        try:
            self._log.write(line_of(entry, LineKind.WRITTEN))
        except LedgerUnavailableError as error:
            # The entry is announced and stands: all that is lost is the proof that it was not cut off, should it be the last.
            self._report(f"audit line not written: {entry.trail} {entry.number} {entry.hash}: {error}")


def place_of(number: int) -> str:
    """The sort key of an entry."""
    return f"{number:06d}"


def read_entry(item: Item) -> AuditEntry:
    """An entry as the ledger holds it, whatever somebody may have made of it."""
    place = str(item["sk"])
    number = int(place) if place.isascii() and place.isdecimal() else 0
    return AuditEntry(
        trail=str(item["pk"]).removeprefix(PREFIX),
        number=number if place == place_of(number) else 0,
        content={name: value for name, value in item.items() if name not in _NOT_CONTENT},
        hash=str(item.get("hash", "")),
    )


def line_of(entry: AuditEntry, kind: LineKind) -> AuditLine:
    """What the log is told of an entry."""
    return AuditLine(trail=entry.trail, number=entry.number, hash=entry.hash, kind=kind)


def to_line(line: AuditLine) -> dict[str, Any]:
    """A line as JSON: about 130 bytes."""
    return {"trail": line.trail, "number": line.number, "hash": line.hash, "is": line.kind.value}


def read_line(message: str) -> AuditLine | None:
    """A line of the log, or None for one that is none of ours."""
    try:
        said = json.loads(message)
        number = said["number"]
        if type(number) is not int or number < 1 or not isinstance(said["trail"], str):
            return None
        return AuditLine(trail=said["trail"], number=number, hash=str(said["hash"]), kind=LineKind(said["is"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
