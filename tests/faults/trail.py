"""Reads the audit trail and its log as an auditor does, and has the product's own judgement on them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

from moto.logs.models import logs_backends

from chalicelib.aws.audit_trail import PREFIX, read_entry, read_line
from chalicelib.domain.audit import AuditEntry, AuditLine, verify_chain
from local import seed


class Rows(Protocol):
    """A ledger that can be read by the kind of its items."""

    def rows(self, kind: str = "", /) -> list[Any]: ...


def find_faults(ledger: Rows) -> Iterator[str]:
    """What is wrong with the trails and is no doubt, in sentences."""
    entries, lines = defaultdict[str, list[AuditEntry]](list), defaultdict[str, list[AuditLine]](list)
    for item in ledger.rows(PREFIX):
        entry = read_entry(item)
        entries[entry.trail].append(entry)
    for stream in logs_backends[seed.ACCOUNT][seed.REGION].groups[seed.AUDIT_LOG].streams.values():
        for event in stream.events:
            if (line := read_line(event.message)) is not None:
                lines[line.trail].append(line)
    for trail in {*entries, *lines}:
        for finding in verify_chain(entries[trail], lines[trail]):
            if not finding.fault.is_doubt:
                yield f"the audit trail has an entry that is {finding.fault}"
