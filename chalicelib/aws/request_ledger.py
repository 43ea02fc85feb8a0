"""Requests and their decisions in the ledger: what the Slack endpoint may write, and nothing that grants anything."""

from datetime import datetime
from typing import Any

from chalicelib.aws.table import Item, Table, Write
from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import LedgerUnavailableError, UnknownRequestError
from chalicelib.domain.payloads import from_payload, to_payload
from chalicelib.domain.records import FiledRequest, RequestRecord
from chalicelib.domain.requests import AccessRequest, Origin, request_ids

_SLOT = "slot:"


class DynamoRequestLedger:
    """Items ``REQUEST#<id>`` (the request, its decision, its hold) and ``PERSON#<id>`` (a person's open requests)."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def file_request(self, request: AccessRequest, *, origin_id: str, open_limit: int) -> FiledRequest:
        """Record a request once; its id is chosen here, from its origin."""
        for request_id in request_ids(Origin.SLACK, origin_id):
            filed = self._file_as(request, request_id, origin_id, open_limit)
            if filed is not None:
                return filed
        raise LedgerUnavailableError("No free request id was found. Ask again.")

    def _file_as(self, request: AccessRequest, request_id: str, origin_id: str, open_limit: int) -> FiledRequest | None:
        payload = to_payload(request) | {"request_id": request_id}
        slot = _slot(request)
        filing, claiming = self._table.write_together(
            [
                Write(
                    key=_request_key(request_id),
                    item={"request": payload, "origin": origin_id},
                    condition="attribute_not_exists(pk)",
                ),
                Write(
                    key=_person_key(request),
                    update="SET #slot = :id ADD #open_count :one",
                    condition="attribute_not_exists(#slot)"
                    " AND (attribute_not_exists(#open_count) OR #open_count < :limit)",
                    names={"slot": slot},
                    values={"id": request_id, "one": 1, "limit": open_limit},
                ),
            ]
        )
        if not filing.is_done and filing.item is not None:
            if filing.item["origin"] != origin_id:
                return None
            return FiledRequest(request=_read_request(filing.item))
        if not claiming.is_done:
            slots = {name: value for name, value in (claiming.item or {}).items() if name.startswith(_SLOT)}
            if slot in slots:
                return FiledRequest(standing_in_the_way=(slots[slot],), is_same_ask=True)
            return FiledRequest(standing_in_the_way=tuple(sorted(slots.values())))
        return FiledRequest(request=from_payload(AccessRequest, payload), is_new=True)

    def find_request(self, request_id: str) -> RequestRecord | None:
        """Everything recorded under a request, in one read."""
        items = {item["sk"]: item for item in self._table.query(f"REQUEST#{request_id}")}
        if "REQUEST" not in items:
            return None
        decision, hold = items.get("DECISION", {}), items.get("HOLD", {})
        return RequestRecord(
            request=_read_request(items["REQUEST"]),
            decisions=_read_decision(decision) if decision else None,
            approval_token=decision.get("task_token"),
            hold_token=hold.get("task_token"),
            end_asked_at=from_payload(datetime, hold["end_asked_at"]) if "end_asked_at" in hold else None,
            approval_card=_read_card(decision),
            ready_card=_read_card(hold),
            outcome=Outcome(items["REQUEST"]["outcome"]) if "outcome" in items["REQUEST"] else None,
        )

    def require_request(self, request_id: str) -> RequestRecord:
        """The same, or UnknownRequestError."""
        record = self.find_request(request_id)
        if record is None:
            raise UnknownRequestError(f"There is no request {request_id}.")
        return record

    def open_decision(self, record: DecisionRecord, *, task_token: str) -> DecisionRecord:
        """Start the deciding if it has not started; keep the task token that waits now."""
        key = _decision_key(record.request_id)
        opened = self._table.write(
            Write(
                key=key,
                item={"decision": to_payload(record), "version": record.version, "task_token": task_token},
                condition="attribute_not_exists(pk)",
            )
        )
        if opened.is_done:
            return record
        kept = self._table.write(Write(key=key, update="SET #task_token = :token", values={"token": task_token}))
        return _read_decision(_require(kept.item))

    def replace_decision(self, record: DecisionRecord) -> bool:
        """Write what a decision made of the record, if nothing else was decided in between."""
        return self._table.write(
            Write(
                key=_decision_key(record.request_id),
                update="SET #decision = :decision, #version = :version",
                condition="#version = :seen",
                values={
                    "decision": to_payload(record),
                    "version": record.version,
                    "seen": record.version - 1,
                },
            )
        ).is_done

    def keep_approval_card(self, request_id: str, card: CardReference) -> None:
        """Remember where the approval card stands."""
        self._keep(_decision_key(request_id), "card", to_payload(card))

    def keep_ready_card(self, request_id: str, card: CardReference) -> None:
        """Remember where the ready message stands."""
        self._keep(_hold_key(request_id), "card", to_payload(card))

    def keep_hold_token(self, request_id: str, task_token: str) -> None:
        """Remember the token that the hold waits for."""
        self._keep(_hold_key(request_id), "task_token", task_token)

    def ask_end(self, request_id: str, *, at: datetime) -> None:
        """Record the first asking for the end."""
        self._table.write(
            Write(
                key=_hold_key(request_id),
                update="SET #end_asked_at = :at",
                condition="attribute_not_exists(#end_asked_at)",
                values={"at": to_payload(at)},
            )
        )

    def close_request(self, request_id: str, outcome: Outcome, *, at: datetime) -> None:
        """Record the outcome once and free the person's place, both or neither: what is closed is never closed again."""
        request = self.require_request(request_id).request
        self._table.write_together(
            [
                Write(
                    key=_request_key(request_id),
                    update="SET #outcome = :outcome, #closed_at = :at",
                    condition="attribute_not_exists(#outcome)",
                    values={"outcome": str(outcome), "at": to_payload(at)},
                ),
                Write(
                    key=_person_key(request),
                    update="REMOVE #slot ADD #open_count :less",
                    condition="#slot = :id",
                    names={"slot": _slot(request)},
                    values={"id": request_id, "less": -1},
                ),
            ]
        )

    def _keep(self, key: tuple[str, str], attribute: str, value: Any) -> None:
        self._table.write(
            Write(key=key, update="SET #attribute = :value", names={"attribute": attribute}, values={"value": value})
        )


def _request_key(request_id: str) -> tuple[str, str]:
    return f"REQUEST#{request_id}", "REQUEST"


def _decision_key(request_id: str) -> tuple[str, str]:
    return f"REQUEST#{request_id}", "DECISION"


def _hold_key(request_id: str) -> tuple[str, str]:
    return f"REQUEST#{request_id}", "HOLD"


def _person_key(request: AccessRequest) -> tuple[str, str]:
    return f"PERSON#{request.person.person_id}", "OPEN"


def _slot(request: AccessRequest) -> str:
    return f"{_SLOT}{request.location}#{request.level}"


def _read_request(item: Item) -> AccessRequest:
    return from_payload(AccessRequest, item["request"])


def _read_decision(item: Item) -> DecisionRecord:
    return from_payload(DecisionRecord, item["decision"])


def _read_card(item: Item) -> CardReference | None:
    return from_payload(CardReference, item["card"]) if "card" in item else None


def _require(item: Item | None) -> Item:
    if item is None:
        raise LedgerUnavailableError("The ledger answered without the item that it wrote; try again.")
    return item
