"""Items of the ledger that are not as we write them: each reading gives a record of what was asked for, or an error of ours.

It never says more than the item's place and the columns by which writes are conditioned.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.attributes import from_attributes
from chalicelib.aws.audit_trail import DynamoAuditTrail
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.domain.audit import AuditEvent, AuditLine
from chalicelib.domain.cards import CardReference
from chalicelib.domain.errors import AccessError
from chalicelib.domain.grants import GrantState, delivered
from chalicelib.domain.payloads import PayloadError
from chalicelib.domain.preferences import Preferences
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    READ,
    WRITER,
    a_grant,
    a_record,
    a_request,
    a_review,
    a_task_token,
    an_ended_request,
    minutes,
)
from tests.faults.explore.dynamo import ModelDynamo
from tests.fuzz.mutations import json_values, mutated_documents, tries

NAME, BASTION, ORIGIN, CARD = (
    "ledger",
    "main",
    "the origin",
    CardReference(channel="C0APPROVALS", ts="1900000001.000100"),
)
INDEXED, COUNTED, _MOST_DIGITS = {"watch", "ends_at"}, "open_count", 38


class DeafLog:
    """An audit log that takes every line."""

    def write(self, line: AuditLine) -> None: ...


class Ledger:
    """One of each kind of item, and every way in which we read or build upon them."""

    def __init__(self) -> None:
        self.dynamo = ModelDynamo()
        self.dynamo.create_table(TableName=NAME)
        table = Table(self.dynamo, NAME)
        self.requests, self.grants, self.bastions = (
            DynamoRequestLedger(table),
            DynamoGrantLedger(table),
            DynamoBastionLedger(table),
        )
        self.audit = DynamoAuditTrail(table, DeafLog(), print)  # type: ignore[arg-type]  # it has what the trail needs of one
        self._write()
        self.items = deepcopy(self.dynamo.tables[NAME])

    def _write(self) -> None:
        filed = self.requests.file_request(a_request(), origin_id=ORIGIN, open_limit=3)
        assert filed.request is not None
        self.request = filed.request
        self.request_id = request_id = filed.request.request_id
        record = a_record(request_id=request_id)
        self.requests.open_decision(record, task_token=a_task_token("a token"))
        self.requests.replace_decision(replace(a_record(BOB, request_id=request_id), version=record.version + 1))
        for card in ("approval", "asked", "ready", "soon", "review"):
            self.requests.keep_card(request_id, card, CARD)  # type: ignore[arg-type]  # each is a name of a card
        self.requests.keep_hold_token(request_id, a_task_token("another token"))
        self.requests.keep_told(request_id, end=FRIDAY_NOON, warned=FRIDAY_NOON, instance_id="i-0123456789abcdef0")
        self.requests.keep_tell_try(request_id, at=FRIDAY_NOON)
        self.requests.open_review(a_review(request_id=request_id))
        self.requests.keep_preferences(ALICE.person_id, Preferences())
        self.grant = delivered(
            a_grant(self.request), instance_id="i-0123456789abcdef0", writer=WRITER, now=FRIDAY_NOON + minutes(1)
        )
        self.grants.create_grant(self.grant)
        self.bastions.take_lease(BASTION, request_id, until=FRIDAY_NOON + minutes(40))
        self.audit.append(request_id, AuditEvent.ASKED, {"location": "orders-prod"}, at=FRIDAY_NOON)
        ended = self.requests.file_request(replace(a_request(), level=READ), origin_id="another", open_limit=3).request
        assert ended is not None
        self.requests.close_request(an_ended_request(ended))

    def put_back(self, place: tuple[str, str], item: Any) -> None:
        """Everything as it was written, but for one item."""
        self.dynamo.tables[NAME] = self.items | {place: item | {"pk": {"S": place[0]}, "sk": {"S": place[1]}}}

    @property
    def readings(self) -> dict[str, Callable[[], Any]]:
        """By name."""
        requests, grants, bastions, request_id = self.requests, self.grants, self.bastions, self.request_id
        now, person = FRIDAY_NOON + minutes(5), ALICE.person_id
        return {
            "find_request": lambda: requests.find_request(request_id),
            "find_requests": lambda: requests.find_requests([request_id]),
            "require_request": lambda: requests.require_request(request_id),
            "file_request": lambda: requests.file_request(a_request(), origin_id=ORIGIN, open_limit=3),
            "file_request, another": lambda: requests.file_request(a_request(), origin_id="a third", open_limit=1),
            "open_decision": lambda: requests.open_decision(
                a_record(request_id=request_id), task_token=a_task_token("a token")
            ),
            "replace_decision": lambda: requests.replace_decision(replace(a_record(request_id=request_id), version=3)),
            "ask_end": lambda: requests.ask_end(request_id, at=now),
            "open_review": lambda: requests.open_review(a_review(request_id=request_id)),
            "replace_review": lambda: requests.replace_review(replace(a_review(request_id=request_id), version=2)),
            "close_request": lambda: requests.close_request(an_ended_request(self.request)),
            "open_request_ids": lambda: requests.open_request_ids(person),
            "requests_to_decide": requests.requests_to_decide,
            "requests_to_review": requests.requests_to_review,
            "unreported_requests": requests.unreported_requests,
            "ended_requests": lambda: requests.ended_requests(person, most=5),
            "ended_in": lambda: requests.ended_in(f"{FRIDAY_NOON:%Y-%m}"),
            "find_preferences": lambda: requests.find_preferences(person),
            "find_grant": lambda: grants.find_grant(self.grant.facts.key),
            "create_grant": lambda: grants.create_grant(self.grant),
            "open_grants": grants.open_grants,
            "replace_grant": lambda: grants.replace_grant(self.grant, replace(self.grant, state=GrantState.ENDING)),
            "find_bastion": lambda: bastions.find_bastion(BASTION),
            "find_bastions": lambda: bastions.find_bastions([BASTION]),
            "take_lease": lambda: bastions.take_lease(BASTION, "R-AAAAAA", until=now),
            "release_lease": lambda: bastions.release_lease(BASTION, request_id, at=now),
            "append": lambda: self.audit.append(request_id, AuditEvent.ENDED, {"by": "clock"}, at=now),
        }


def typed(value: Any) -> dict[str, Any]:
    """A value with DynamoDB's type, also of those that we never write: binary, sets, numbers that are not whole."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() if len(str(abs(value))) <= _MOST_DIGITS:
            return {"N": str(value)}
        case float():
            return {"N": str(value)}
        case bytes():
            return {"B": value.hex()}
        case frozenset():
            return {"SS": sorted(value)}
        case dict():
            return {"M": {name: typed(each) for name, each in value.items()}}
        case list():
            return {"L": [typed(each) for each in value]}
    return {"S": str(value)}


values = (
    json_values
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=4)
    | st.frozensets(st.text(min_size=1, max_size=4), min_size=1, max_size=2)
)
LEDGER = Ledger()
PLACES = sorted(LEDGER.items)


@st.composite
def items(draw: st.DrawFn, place: tuple[str, str]) -> dict[str, Any]:
    """An item of one place with something wrong in it."""
    plain = {name: each for name, each in from_attributes(LEDGER.items[place]).items() if name not in {"pk", "sk"}}
    mutated = draw(mutated_documents(plain, values))
    # DynamoDB takes no item whose keys in an index are no text; and only it can add to a number that is not whole.
    mutated |= {COUNTED: str(mutated[COUNTED])} if isinstance(mutated.get(COUNTED), float) else {}
    return {
        name: typed(each) for name, each in mutated.items() if name and (name not in INDEXED or isinstance(each, str))
    }


def attempt(reading: Callable[[], Any]) -> Any:
    """What a reading gives; None where it ends as it may."""
    try:
        return reading()
    except (AccessError, PayloadError):
        return None


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = deepcopy(LEDGER.items)
    yield
    LEDGER.dynamo.tables[NAME] = dict(LEDGER.items)

    assert before == LEDGER.items


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_no_item_breaks_a_reading(place: tuple[str, str]) -> None:
    """Whatever is missing, of another kind or in another's place: a record, or an error of ours."""
    broken: dict[str, Any] = {}

    @tries(40)
    @given(items(place))
    def read_all(item: Any) -> None:
        for name, reading in LEDGER.readings.items():
            LEDGER.put_back(place, item)
            try:
                attempt(reading)
            except Exception as error:  # noqa: BLE001 - whatever comes is what this looks for
                broken.setdefault(f"{name}: {type(error).__name__}: {error}"[:120], item)

    read_all()

    assert [] == list(broken), broken


def find_more(ledger: Ledger) -> list[str]:
    """What a reading says that the place of the item and its columns do not."""
    found = []
    key, said = ledger.grant.facts.key, ledger.dynamo.tables[NAME]
    columns = {name: each.get("S") for name, each in said[f"GRANT#{key}", "GRANT"].items()}
    for grant in (attempt(lambda: ledger.grants.find_grant(key)), *(attempt(ledger.grants.open_grants) or ())):
        if grant is not None:
            found += ["another's grant"] if grant.facts.key != key else []
            found += ["a grant of another request"] if grant.facts.request_id != columns.get("request_id") else []
            found += ["a grant in another state"] if grant.state != columns.get("state") else []
            found += (
                ["a grant with another end"]
                if f"{grant.ends_at:%Y-%m-%dT%H:%M:%S}" != str(columns.get("ends_at"))[:19]
                else []
            )
    record = attempt(lambda: ledger.requests.find_request(ledger.request_id))
    if record is not None:
        found += ["another request"] if record.request.request_id != ledger.request_id else []
        found += (
            ["another's decisions"] if record.decisions and record.decisions.request_id != ledger.request_id else []
        )
        found += ["another's review"] if record.review and record.review.request_id != ledger.request_id else []
        strange = [
            each
            for each in (record.approval_token, record.hold_token, record.review_token)
            if not isinstance(each, str | None)
        ]
        found += ["a token that is no text"] if strange or type(record.is_reported) is not bool else []
    bastion = attempt(lambda: ledger.bastions.find_bastion(BASTION))
    found += ["another bastion"] if bastion is not None and bastion.name != BASTION else []
    return found


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_no_item_says_more_than_its_place_and_its_columns(place: tuple[str, str]) -> None:
    """By these the writes are conditioned: what an item says elsewhere in another way is nobody's access."""

    @tries(60)
    @given(items(place))
    def read(item: Any) -> None:
        LEDGER.put_back(place, item)

        assert [] == find_more(LEDGER)

    read()


def test_nothing_is_wrong_with_the_items_as_they_are_written() -> None:
    """Else the rest would find what is not there."""
    assert [] == [name for name, reading in LEDGER.readings.items() if attempt(reading) is None and name in MUST_GIVE]
    LEDGER.dynamo.tables[NAME] = dict(LEDGER.items)
    assert [] == find_more(LEDGER)


MUST_GIVE = {"find_request", "find_grant", "open_grants", "find_bastion", "open_decision", "ended_requests", "ended_in"}
