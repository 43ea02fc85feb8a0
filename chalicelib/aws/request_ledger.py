"""Requests and their decisions in the ledger: what the Slack endpoint may write, and nothing that grants anything."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from chalicelib.aws.table import Item, Table, Write, Written
from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import LedgerUnavailableError, UnknownRequestError
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.payloads import PayloadError, from_payload, read_field, to_payload
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.records import CardName, FiledRequest, RequestRecord
from chalicelib.domain.requests import AccessRequest, Origin, request_ids
from chalicelib.domain.reviews import ReviewRecord

_Value = TypeVar("_Value")
_Owned = TypeVar("_Owned", AccessRequest, DecisionRecord, ReviewRecord)

_SLOT = "slot:"
_UNDECIDED = "DECISION"
_UNREVIEWED = "REVIEW"
_UNREPORTED = "REQUEST"
_MONTH = "MONTH#"
_KINDS = ("REQUEST", "DECISION", "HOLD", "REVIEW")
_CARDS: dict[CardName, str] = {
    "approval": "card",
    "asked": "asked_card",
    "ready": "card",
    "soon": "soon_card",
    "review": "card",
}


class DynamoRequestLedger:
    """Items ``REQUEST#<id>`` (the request, its decision, its hold) and ``PERSON#<id>`` (a person's open requests)."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def file_request(
        self, request: AccessRequest, *, origin: Origin = Origin.SLACK, origin_id: str, open_limit: int
    ) -> FiledRequest:
        """Record a request once; its id is chosen here, from its origin."""
        for request_id in request_ids(origin, origin_id):
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
                    item={
                        "request": payload,
                        "origin": origin_id,
                        "watch": _UNREPORTED,
                        "ends_at": payload["asked_at"],
                    },
                    condition="attribute_not_exists(pk)",
                ),
                Write(
                    key=_person_key(request.person.person_id),
                    update="SET #slot = :id ADD #open_count :one",
                    condition="attribute_not_exists(#slot)"
                    " AND (attribute_not_exists(#open_count) OR #open_count < :limit)",
                    names={"slot": slot},
                    values={"id": request_id, "one": 1, "limit": open_limit},
                ),
            ]
        )
        if not filing.is_done and filing.item is not None:
            if read_field(str, filing.item, "origin") != origin_id:
                return None
            return FiledRequest(request=_read_request(filing.item))
        if not claiming.is_done:
            slots = _read_slots(claiming.item or {})
            if slot in slots:
                return FiledRequest(standing_in_the_way=(slots[slot],), is_same_ask=True)
            return FiledRequest(standing_in_the_way=tuple(sorted(slots.values())))
        return FiledRequest(request=from_payload(AccessRequest, payload), is_new=True)

    def find_request(self, request_id: str) -> RequestRecord | None:
        """Everything recorded under a request, in one read."""
        return _read_record(self._table.query(f"REQUEST#{request_id}"))

    def find_requests(self, request_ids: Sequence[str]) -> Sequence[RequestRecord]:
        """The same for many at once, in the order of their ids, without those that there are not."""
        found: dict[str, list[Item]] = {f"REQUEST#{request_id}": [] for request_id in request_ids}
        for item in self._table.find_all([(pk, kind) for pk in found for kind in _KINDS]):
            found[item["pk"]].append(item)
        records = self._table.read_each(found.items(), _read_record)
        return [record for record in records if record is not None]

    def require_request(self, request_id: str) -> RequestRecord:
        """The same, or UnknownRequestError."""
        record = self.find_request(request_id)
        if record is None:
            raise UnknownRequestError(f"There is no request {request_id}.")
        return record

    def open_decision(self, record: DecisionRecord, *, task_token: TaskToken) -> DecisionRecord:
        """Start the deciding if it has not started; keep the task token that waits now."""
        key = _decision_key(record.request_id)
        if self._open(key, "decision", _decision_item(record, task_token)).is_done:
            return record
        return _read_decision(self._keep_token(key, task_token))

    def replace_decision(self, record: DecisionRecord) -> bool:
        """Write what a decision made of the record, if nothing else was decided in between."""
        return self._table.write(
            Write(
                key=_decision_key(record.request_id),
                update="SET #decision = :decision, #version = :version"
                + (" REMOVE #watch" if record.verdict is not Verdict.OPEN else ""),
                condition="#version = :seen",
                values={
                    "decision": to_payload(record),
                    "version": record.version,
                    "seen": record.version - 1,
                },
            )
        ).is_done

    def keep_card(self, request_id: str, card: CardName, reference: CardReference) -> None:
        """Remember where a card of the request stands."""
        self._keep(_card_key(request_id, card), _CARDS[card], to_payload(reference))

    def keep_hold_token(self, request_id: str, task_token: TaskToken) -> None:
        """Remember the token that the hold waits for, unless that of a later turn is known."""
        self._keep_token(_hold_key(request_id), task_token)

    def keep_told(
        self,
        request_id: str,
        *,
        end: datetime | None = None,
        warned: datetime | None = None,
        instance_id: str | None = None,
    ) -> None:
        """Remember which end the holder was told, or warned of, and through which instance they were told to go."""
        if instance_id is not None:
            self._keep(_hold_key(request_id), "told_instance", instance_id)
        if end is not None:
            self._keep(_hold_key(request_id), "told_end", to_payload(end))
        if warned is not None:
            self._keep(_hold_key(request_id), "warned_end", to_payload(warned))

    def keep_tell_try(self, request_id: str, *, at: datetime | None) -> None:
        """Remember since when it is tried to tell the holder something; None once it is told."""
        self._keep(_hold_key(request_id), "tell_tried_at", to_payload(at))

    def ask_end(self, request_id: str, *, at: datetime) -> str | None:
        """Record the first asking for the end. Returns the hold's token, in the same write."""
        written = self._table.write(
            Write(
                key=_hold_key(request_id),
                update="SET #end_asked_at = :at",
                condition="attribute_not_exists(#end_asked_at)",
                values={"at": to_payload(at)},
            )
        )
        return _find(str, _require(written.item), "task_token")

    def open_review(self, review: ReviewRecord) -> ReviewRecord:
        """Start the review if it has not started."""
        opened = self._open(_review_key(review.request_id), "review", _review_item(review))
        return review if opened.is_done else _read_review(_require(opened.item))

    def replace_review(self, review: ReviewRecord) -> bool:
        """Write what a judgement made of the review, if nobody else was faster."""
        return self._table.write(
            Write(
                key=_review_key(review.request_id),
                update="SET #review = :review, #version = :version",
                condition="#version = :seen",
                values={"review": to_payload(review), "version": review.version, "seen": review.version - 1},
            )
        ).is_done

    def keep_reviewed(self, request_id: str) -> None:
        """Nobody needs to look after the review any more."""
        self._table.write(
            Write(key=_review_key(request_id), update="REMOVE #watch", condition="attribute_exists(#review)")
        )

    def keep_review_token(self, request_id: str, task_token: TaskToken) -> None:
        """Remember the token that waits for the review, unless that of a later turn is known."""
        self._keep_token(_review_key(request_id), task_token)

    def close_request(self, ended: EndedRequest) -> None:
        """Record the end once, free the person's place and note it in their history: all or nothing."""
        request_id, at = ended.request.request_id, to_payload(ended.ended_at)
        request = self.require_request(request_id).request
        self._table.write_together(
            [
                Write(
                    key=_request_key(request_id),
                    update="SET #outcome = :outcome, #closed_at = :at",
                    condition="attribute_not_exists(#outcome)",
                    values={"outcome": str(ended.outcome), "at": at},
                ),
                Write(
                    key=_person_key(request.person.person_id),
                    update="REMOVE #slot ADD #open_count :less",
                    condition="#slot = :id",
                    names={"slot": _slot(request)},
                    values={"id": request_id, "less": -1},
                ),
                Write(
                    key=(f"HISTORY#{request.person.person_id}", f"{at}#{request_id}"),
                    item={"ended": to_payload(ended), "watch": f"{_MONTH}{at[:7]}", "ends_at": at},
                ),
            ]
        )

    def keep_reported(self, request_id: str) -> None:
        """Nobody needs to look after the request any more."""
        self._table.write(
            Write(key=_request_key(request_id), update="SET #reported = :yes REMOVE #watch", values={"yes": True})
        )

    def unreported_requests(self) -> Sequence[str]:
        """Everybody's requests whose end was not told yet, the oldest first."""
        return self._table.watched(_UNREPORTED, lambda item: _read_request(item).request_id)

    def open_request_ids(self, person_id: str) -> Sequence[str]:
        """The person's own requests that have not ended, by location and level."""
        item = self._table.find(*_person_key(person_id)) or {}
        return [request_id for _, request_id in sorted(_read_slots(item).items())]

    def requests_to_decide(self) -> Sequence[str]:
        """Everybody's requests that wait for a decision, soonest end first."""
        return self._table.watched(_UNDECIDED, lambda item: _read_decision(item).request_id)

    def requests_to_review(self) -> Sequence[str]:
        """Everybody's requests that wait for a review, or whose review was closed and nobody has noted it, soonest due first."""
        return self._table.watched(_UNREVIEWED, lambda item: _read_review(item).request_id)

    def ended_requests(self, person_id: str, *, most: int) -> Sequence[EndedRequest]:
        """The person's last ended requests, newest first."""
        items = self._table.query(f"HISTORY#{person_id}", last=most)
        return self._table.read_each(((item["pk"], item) for item in items), _read_ended)

    def ended_in(self, month: str) -> Sequence[EndedRequest]:
        """Everybody's requests that ended in a month, such as 2026-11 (UTC)."""
        return self._table.watched(f"{_MONTH}{month}", _read_ended)

    def find_preferences(self, person_id: str) -> Preferences:
        """What the person gave last."""
        item = self._table.find(f"PERSON#{person_id}", "PREFERENCES")
        return read_field(Preferences, item, "preferences") if item else Preferences()

    def keep_preferences(self, person_id: str, preferences: Preferences) -> None:
        """Remember what the person gave last."""
        self._keep((f"PERSON#{person_id}", "PREFERENCES"), "preferences", to_payload(preferences))

    def _open(self, key: tuple[str, str], what: str, item: Item) -> Written:
        """Write what was not there yet, beside cards and tokens that may be."""
        return self._table.write(
            Write(
                key=key,
                update="SET " + ", ".join(f"#{name} = :{name}" for name in item),
                condition=f"attribute_not_exists(#{what})",
                values=item,
            )
        )

    def _keep_token(self, key: tuple[str, str], token: TaskToken) -> Item:
        """A write that takes effect late changes nothing, so that whoever waits now is the one who is woken."""
        written = self._table.write(
            Write(
                key=key,
                update="SET #task_token = :token, #turn = :turn",
                condition="attribute_not_exists(#turn) OR #turn <= :turn",
                values={"token": token.text, "turn": token.turn},
            )
        )
        return _require(written.item)

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


def _review_key(request_id: str) -> tuple[str, str]:
    return f"REQUEST#{request_id}", "REVIEW"


def _card_key(request_id: str, card: CardName) -> tuple[str, str]:
    keys = {"approval": _decision_key, "asked": _decision_key, "review": _review_key}
    return keys.get(card, _hold_key)(request_id)


def _person_key(person_id: str) -> tuple[str, str]:
    return f"PERSON#{person_id}", "OPEN"


def _slot(request: AccessRequest) -> str:
    """A person's place among open requests: one for each location and level, and one for each extension of such access."""
    return f"{_SLOT}{request.location}#{request.level}" + (f"#{request.extends}" if request.extends else "")


def _decision_item(record: DecisionRecord, task_token: TaskToken) -> Item:
    return {
        "decision": to_payload(record),
        "version": record.version,
        "task_token": task_token.text,
        "turn": task_token.turn,
        "watch": _UNDECIDED,
        "ends_at": to_payload(record.closes_at),
    }


def _review_item(review: ReviewRecord) -> Item:
    return {
        "review": to_payload(review),
        "version": review.version,
        "watch": _UNREVIEWED,
        "ends_at": to_payload(review.due_at),
    }


def _read_record(found: Iterable[Item]) -> RequestRecord | None:
    """What the items under one request say together."""
    items = {item["sk"]: item for item in found}
    if "REQUEST" not in items:
        return None
    decision, hold, review = (items.get(kind, {}) for kind in ("DECISION", "HOLD", "REVIEW"))
    return RequestRecord(
        request=_read_request(items["REQUEST"]),
        decisions=_read_decision(decision) if "decision" in decision else None,
        approval_token=_find(str, decision, "task_token"),
        hold_token=_find(str, hold, "task_token"),
        end_asked_at=_find(datetime, hold, "end_asked_at"),
        review=_read_review(review) if "review" in review else None,
        review_token=_find(str, review, "task_token"),
        asked_card=_find(CardReference, decision, _CARDS["asked"]),
        approval_card=_find(CardReference, decision, _CARDS["approval"]),
        ready_card=_find(CardReference, hold, _CARDS["ready"]),
        soon_card=_find(CardReference, hold, _CARDS["soon"]),
        review_card=_find(CardReference, review, _CARDS["review"]),
        told_end=_find(datetime, hold, "told_end"),
        warned_end=_find(datetime, hold, "warned_end"),
        told_instance=_find(str, hold, "told_instance"),
        tell_tried_at=_find(datetime, hold, "tell_tried_at"),
        outcome=_find(Outcome, items["REQUEST"], "outcome"),
        is_reported=bool(_find(bool, items["REQUEST"], "reported")),
    )


def _read_request(item: Item) -> AccessRequest:
    return _own(item, read_field(AccessRequest, item, "request"))


def _read_decision(item: Item) -> DecisionRecord:
    return _own(item, read_field(DecisionRecord, item, "decision"))


def _read_ended(item: Item) -> EndedRequest:
    return read_field(EndedRequest, item, "ended")


def _read_review(item: Item) -> ReviewRecord:
    return _own(item, read_field(ReviewRecord, item, "review"))


def _own(item: Item, value: _Owned) -> _Owned:
    """What stands under its own request. PayloadError for another's."""
    if item["pk"] != f"REQUEST#{value.request_id}":
        raise PayloadError(f"{item['pk']} holds what belongs to {value.request_id}")
    return value


def _read_slots(item: Item) -> dict[str, str]:
    return {name: from_payload(str, value, path=name) for name, value in item.items() if name.startswith(_SLOT)}


def _find(kind: type[_Value], item: Item, name: str) -> _Value | None:
    """What stands there, or None."""
    return from_payload(kind, item[name], path=name) if item.get(name) is not None else None


def _require(item: Item | None) -> Item:
    if item is None:
        raise LedgerUnavailableError("The ledger answered without the item that it wrote; try again.")
    return item
