"""Grants in the ledger, one item per location, person and level. Only the workflow's functions may write here."""

from collections.abc import Sequence

from chalicelib.aws.table import Item, Table, Write
from chalicelib.domain.errors import GrantEndingError
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.payloads import PayloadError, read_field, to_payload

_WATCHED = "GRANT"
_COLUMNS = ("request_id", "state", "ends_at")
"""What writes are conditioned by, beside the grant that says the same."""


class DynamoGrantLedger:
    """Items ``GRANT#<location>#<person>#<level>``; those not gone are in the watch index, by their end."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create_grant(self, grant: Grant) -> Grant:
        """Write a new grant where none stands or another request's that is gone. A gone one of the same request stays gone."""
        written = self._table.write(
            Write(
                key=_key(grant.facts.key),
                item=_item(grant),
                condition="attribute_not_exists(pk) OR (#state = :gone AND #request_id <> :request)",
                values={"gone": str(GrantState.GONE), "request": grant.facts.request_id},
            )
        )
        if written.is_done or written.item is None:
            return grant
        standing = _read(written.item)
        if standing.facts.request_id != grant.facts.request_id and standing.state is GrantState.ENDING:
            raise GrantEndingError(
                f"Your earlier access to {grant.facts.location} ({standing.facts.request_id}) is still being taken away. "
                "This request waits for that."
            )
        return standing

    def find_grant(self, key: str) -> Grant | None:
        """The grant of that identity, gone or not."""
        item = self._table.find(*_key(key))
        return _read(item) if item else None

    def replace_grant(self, seen: Grant, grant: Grant) -> bool:
        """Write the grant if request, state, end, instance and whether it was ordered are still as seen."""
        old, new = _item(seen), _item(grant)
        watch = "SET #watch = :watch, " if grant.state is not GrantState.GONE else "REMOVE #watch SET "
        return self._table.write(
            Write(
                key=_key(grant.facts.key),
                update=f"{watch}#grant = :grant, #state = :state, #ends_at = :ends_at",
                condition="#request_id = :seen_request AND #state = :seen_state AND #ends_at = :seen_end"
                " AND #grant.#is_ordered = :seen_ordered AND #grant.#instance_id = :seen_instance",
                values={
                    "grant": new["grant"],
                    "state": new["state"],
                    "ends_at": new["ends_at"],
                    "seen_request": old["request_id"],
                    "seen_state": old["state"],
                    "seen_end": old["ends_at"],
                    "seen_ordered": seen.is_ordered,
                    "seen_instance": seen.instance_id,
                }
                | ({"watch": _WATCHED} if grant.state is not GrantState.GONE else {}),
            )
        ).is_done

    def open_grants(self) -> Sequence[Grant]:
        """Everybody's grants that are not gone, soonest end first."""
        return self._table.watched(_WATCHED, _read)


def _key(key: str) -> tuple[str, str]:
    return f"GRANT#{key}", "GRANT"


def _item(grant: Grant) -> Item:
    payload = to_payload(grant)
    return {
        "grant": payload,
        "request_id": grant.facts.request_id,
        "state": payload["state"],
        "ends_at": payload["ends_at"],
        "watch": _WATCHED,
    }


def _read(item: Item) -> Grant:
    """Raises PayloadError, also for an item that says one thing here and another there."""
    grant = read_field(Grant, item, "grant")
    written = _item(grant)
    if item["pk"] != _key(grant.facts.key)[0] or any(item.get(name) != written[name] for name in _COLUMNS):
        raise PayloadError(f"{item['pk']} contradicts itself")
    return grant
