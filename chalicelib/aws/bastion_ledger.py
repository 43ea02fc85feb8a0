"""Bastions and their leases in the ledger, one item per bastion. Leases change only by writes of their own."""

from collections.abc import Sequence
from datetime import datetime

from chalicelib.aws.table import Item, Table, Write
from chalicelib.defaults import LEASES_PER_BASTION
from chalicelib.domain.bastions import CLOSED_TO_LEASES, Bastion
from chalicelib.domain.payloads import PayloadError, from_payload, to_payload

_WRITTEN_APART = {"name", "leases", "idle_since"}


class DynamoBastionLedger:
    """Items ``BASTION#<name>``: state, generation, instance and a map of leases."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find_bastion(self, name: str) -> Bastion:
        """The bastion as it stands; one never heard of is absent."""
        item = self._table.find(*_key(name))
        return _read(item) if item else Bastion(name=name)

    def find_bastions(self, names: Sequence[str]) -> Sequence[Bastion]:
        """Those of the bastions that were ever heard of, in the order of their names; each is read for itself."""
        found = {bastion.name: bastion for bastion in map(_read, self._table.find_all([_key(name) for name in names]))}
        return [found[name] for name in names if name in found]

    def take_lease(self, name: str, request_id: str, *, until: datetime) -> bool:
        """One write, refused while the bastion is stopping or terminating, or holds as many leases of others as it may.

        It writes nothing where the request's lease lasts as long already: what comes late never shortens one.
        """
        asked = to_payload(until)
        take = Write(
            key=_key(name),
            update="SET #leases.#request = :until REMOVE #idle_since",
            condition="attribute_exists(pk) AND NOT #state IN (:stopping, :terminating)"
            " AND ((attribute_not_exists(#leases.#request) AND size(#leases) < :most) OR #leases.#request < :until)",
            names={"request": request_id},
            values={"until": asked, "most": LEASES_PER_BASTION}
            | {state.value: state.value for state in CLOSED_TO_LEASES},
        )
        taken = self._table.write(take)
        if not taken.is_done and taken.item is None:
            self._table.write(
                Write(key=_key(name), item=to_payload(Bastion(name=name)), condition="attribute_not_exists(pk)")
            )
            taken = self._table.write(take)
        return taken.is_done or (taken.item is not None and _holds(taken.item, request_id, asked))

    def release_lease(self, name: str, request_id: str, *, at: datetime) -> None:
        """Give a lease up; the bastion is idle from then on if it was the last."""
        released = self._table.write(
            Write(
                key=_key(name),
                update="REMOVE #leases.#request",
                condition="attribute_exists(#leases.#request)",
                names={"request": request_id},
            )
        )
        if released.is_done:
            self.mark_idle(name, at=at)

    def expire_lease(self, name: str, request_id: str, *, seen: datetime) -> None:
        """Remove a lease that was not renewed since it was seen."""
        expired = self._table.write(
            Write(
                key=_key(name),
                update="REMOVE #leases.#request",
                condition="#leases.#request = :seen",
                names={"request": request_id},
                values={"seen": to_payload(seen)},
            )
        )
        if expired.is_done:
            self.mark_idle(name, at=seen)

    def replace_bastion(self, seen: Bastion, bastion: Bastion, *, only_if_unleased: bool) -> bool:
        """Write everything but leases and idleness, if state, generation and instance are still as seen."""
        old, new = to_payload(seen), to_payload(bastion)
        fields = [field for field in new if field not in _WRITTEN_APART]
        condition = (
            "#state = :seen_state AND #generation = :seen_generation AND #instance_id = :seen_instance"
            " AND #stop_called_at = :seen_stop_called_at"
        )
        return self._table.write(
            Write(
                key=_key(bastion.name),
                update="SET " + ", ".join(f"#{field} = :{field}" for field in fields),
                condition=condition + (" AND size(#leases) = :zero" if only_if_unleased else ""),
                values={field: new[field] for field in fields}
                | {
                    "seen_state": old["state"],
                    "seen_generation": old["generation"],
                    "seen_instance": old["instance_id"],
                    "seen_stop_called_at": old["stop_called_at"],
                }
                | ({"zero": 0} if only_if_unleased else {}),
            )
        ).is_done

    def mark_idle(self, name: str, *, at: datetime) -> None:
        """Note since when nobody holds a lease, unless somebody does or it is noted already."""
        self._table.write(
            Write(
                key=_key(name),
                update="SET #idle_since = :at",
                condition="attribute_exists(#leases) AND size(#leases) = :zero"
                " AND (attribute_not_exists(#idle_since) OR #idle_since = :none)",
                values={"at": to_payload(at), "zero": 0, "none": None},
            )
        )


def _holds(item: Item, request_id: str, asked: str) -> bool:
    """Has the request a lease that lasts at least so long, on a bastion that is not going down? Instants as they are kept."""
    return item["state"] not in CLOSED_TO_LEASES and item["leases"].get(request_id, "") >= asked


def _key(name: str) -> tuple[str, str]:
    return f"BASTION#{name}", "BASTION"


def _read(item: Item) -> Bastion:
    bastion = from_payload(Bastion, item)
    if item["pk"] != _key(bastion.name)[0]:
        raise PayloadError(f"{item['pk']} names the bastion {bastion.name}")
    return bastion
