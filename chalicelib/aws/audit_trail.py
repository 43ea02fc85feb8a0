"""The audit trail: what happened to a request, each entry holding the hash of the one before."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chalicelib.aws.table import Table, Write
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.payloads import to_payload

_TRIES = 8


class DynamoAuditTrail:
    """Items ``AUDIT#<request id>`` numbered from 1. An entry is written once and never changed."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def append(self, request_id: str, event: str, facts: Mapping[str, Any], *, at: datetime) -> None:
        """Add an entry after the last one. Raises LedgerUnavailableError when others keep being faster."""
        pk = f"AUDIT#{request_id}"
        for _ in range(_TRIES):
            last = next(iter(self._table.query(pk, last=1)), None)
            number = int(last["sk"]) + 1 if last else 1
            entry = {
                "event": event,
                "at": to_payload(at),
                "facts": to_payload(facts),
                "previous": last["hash"] if last else "",
            }
            if self._table.write(
                Write(
                    key=(pk, f"{number:06d}"),
                    item=entry | {"hash": entry_hash(request_id, number, entry)},
                    condition="attribute_not_exists(pk)",
                )
            ).is_done:
                return
        raise LedgerUnavailableError(f"The audit entry '{event}' of {request_id} could not be written; try again.")


def entry_hash(request_id: str, number: int, entry: Mapping[str, Any]) -> str:
    """The hash that chains an entry to its place and to the one before."""
    text = json.dumps([request_id, number, entry], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
