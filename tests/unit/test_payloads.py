"""Domain values to JSON and back: nothing is lost, and a payload of another shape is refused by the name of its field."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.bastions import Bastion
from chalicelib.domain.decisions import DecisionRecord
from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.payloads import PayloadError, from_payload, to_payload
from chalicelib.domain.receipts import Receipt
from chalicelib.domain.requests import AccessRequest
from chalicelib.workflow.find_database_instances import DatabaseOrder
from tests.factories import (
    BOB,
    FRIDAY_NOON,
    WRITER,
    a_bastion,
    a_grant,
    a_receipt,
    a_record,
    a_request,
    an_order,
    seconds,
)
from tests.strategies import DOCUMENT_KINDS, RULE, any_value, instants

DELIVERED = a_grant(is_ordered=True, delivered_at=FRIDAY_NOON, instance_id="i-1", writer=WRITER)
WHOLE: dict[type[Any], Any] = {
    Grant: DELIVERED,
    DatabaseOrder: an_order(),
    Receipt: a_receipt(unchecked=("The reader did not answer.",)),
    AccessRequest: a_request(),
    DecisionRecord: a_record(BOB),
    Bastion: a_bastion(leases={"R-ABC234": FRIDAY_NOON}, idle_since=FRIDAY_NOON),
}


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(to_payload(value)))


class TestRoundTrip:
    @pytest.mark.parametrize("kind", DOCUMENT_KINDS, ids=lambda kind: kind.__name__)
    def test_every_value_comes_back_as_it_was(self, kind: type[Any]) -> None:
        """Whatever stands in a state document or a ledger item means the same to whoever reads it."""

        @RULE
        @given(any_value(kind))
        def comes_back(value: Any) -> None:
            assert value == from_payload(kind, through_json(value))

        comes_back()

    @RULE
    @given(instants, instants)
    def test_instants_sort_as_text(self, one: datetime, other: datetime) -> None:
        """The ledger's index sorts grants by the text of their end."""
        assert (one < other) == (to_payload(one) < to_payload(other))

    def test_an_instant_is_written_in_utc_with_milliseconds(self) -> None:
        """Cut and never rounded up: an end does not move later by being written."""
        berlin = timezone(timedelta(hours=1))

        assert "2026-11-20T12:00:00.999Z" == to_payload(datetime(2026, 11, 20, 13, 0, 0, 999_999, tzinfo=berlin))

    def test_an_instant_is_read_in_utc_whatever_zone_it_is_written_in(self) -> None:
        """The same moment."""
        assert FRIDAY_NOON == from_payload(datetime, "2026-11-20T13:00:00+01:00")
        assert from_payload(datetime, "2026-11-20T13:00:00+01:00").tzinfo is UTC

    def test_plain_values_are_written_as_they_are(self) -> None:
        """Audit facts are mappings of whatever a verb had at hand."""
        facts = {"outcome": Outcome.FINISHED, 1: (True, None), "people": {"bob", "alice"}, "at": FRIDAY_NOON}

        assert {
            "outcome": "finished",
            "1": [True, None],
            "people": ["alice", "bob"],
            "at": "2026-11-20T12:00:00.000Z",
        } == to_payload(facts)

    @pytest.mark.parametrize("value", [1.5, b"bytes", object(), Grant, timedelta(1)])
    def test_what_json_or_the_ledger_would_change_is_refused(self, value: object) -> None:
        """Sooner an error than a value that comes back different."""
        with pytest.raises(PayloadError, match="cannot be written"):
            to_payload({"value": value})


class TestOlderAndNewer:
    def test_an_unknown_field_is_passed_over(self) -> None:
        """A document of a newer release stays readable."""
        payload = through_json(DELIVERED) | {"colour": "green"}

        assert DELIVERED == from_payload(Grant, payload)

    def test_a_missing_field_with_a_default_has_it(self) -> None:
        """A document of an older release stays readable."""
        payload = through_json(DELIVERED)
        del payload["writer"]

        assert replace(DELIVERED, writer=None) == from_payload(Grant, payload)

    def test_reading_is_of_one_kind_only(self) -> None:
        """A role name in a payload is not read: it is always recomputed."""
        payload = through_json(a_grant()) | {"role": "postgres"}

        assert a_grant().facts.role == from_payload(Grant, payload).facts.role


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Grant, {"state": "alive"}, "grant.state is no GrantState"),
        (Grant, {"state": None}, "grant.state is no GrantState"),
        (Grant, {"state": ["live"]}, "grant.state is no GrantState"),
        (Grant, {"duration_seconds": "1800"}, "grant.duration_seconds must be int, not str"),
        (Grant, {"duration_seconds": True}, "grant.duration_seconds must be int, not bool"),
        (Grant, {"duration_seconds": 1800.0}, "grant.duration_seconds must be int, not float"),
        (Grant, {"is_ordered": 1}, "grant.is_ordered must be bool, not int"),
        (Grant, {"is_ordered": None}, "grant.is_ordered must be bool, not NoneType"),
        (Grant, {"ends_at": "tomorrow"}, "grant.ends_at is no instant"),
        (Grant, {"ends_at": 1795176000}, "grant.ends_at is no instant"),
        (Grant, {"ends_at": None}, "grant.ends_at is no instant"),
        (Grant, {"ends_at": "2026-11-20T12:00:00"}, "grant.ends_at names no time zone"),
        (Grant, {"ends_at": "0001-01-01T00:00:00+14:00"}, "grant.ends_at is no instant"),
        (Grant, {"facts": None}, "grant.facts must be an object"),
        (Grant, {"facts": []}, "grant.facts must be an object"),
        (Grant, {"writer": "db.example.com"}, "grant.writer must be an object"),
        (Grant, {"writer": {"host": "db.example.com"}}, "grant.writer.port is missing"),
        (Grant, {"writer": {"host": None, "port": 5432}}, "grant.writer.host must be str, not NoneType"),
        (Receipt, {"memberships": "none"}, "receipt.memberships must be a list"),
        (Receipt, {"memberships": ["a", 2]}, r"receipt.memberships\[1\] must be str, not int"),
        (Receipt, {"kept": [{"database": "orders", "kind": "table"}]}, r"receipt.kept\[0\].name is missing"),
        (Bastion, {"leases": ["R-ABC234"]}, "bastion.leases must be an object"),
        (Bastion, {"leases": {"R-ABC234": "soon"}}, "bastion.leases.R-ABC234 is no instant"),
    ],
)
def test_a_payload_of_another_shape_is_refused_by_the_path_of_its_field(
    kind: type[Any], change: dict[str, Any], message: str
) -> None:
    """Never read as something near it: the database function believes no event."""
    with pytest.raises(PayloadError, match="^" + message):
        from_payload(kind, through_json(WHOLE[kind]) | change, path=kind.__name__.lower())


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("payload", [None, [], "text", 7, True])
def test_what_is_no_object_is_refused_at_the_root(kind: type[Any], payload: Any) -> None:
    """With the path that it was given."""
    with pytest.raises(PayloadError, match=r"^here must be an object"):
        from_payload(kind, payload, path="here")


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_every_field_without_a_default_is_required(kind: type[Any]) -> None:
    """And named when it is missing."""
    for field in dataclasses.fields(kind):
        if field.default is field.default_factory is dataclasses.MISSING:
            payload = through_json(WHOLE[kind])
            del payload[field.name]

            with pytest.raises(PayloadError, match=rf"^\$\.{field.name} is missing$"):
                from_payload(kind, payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@RULE
@given(st.sampled_from(list(WHOLE)), st.data(), json_values)
def test_no_json_upsets_the_reading(kind: type[Any], data: st.DataObject, junk: Any) -> None:
    """Whatever stands in place of one field: the value is read or a PayloadError names the path, nothing else."""
    payload = through_json(WHOLE[kind])
    name = data.draw(st.sampled_from(sorted(payload)))

    message = ""
    try:
        from_payload(kind, payload | {name: junk})
    except PayloadError as error:
        message = str(error)

    assert not message or message.startswith(f"$.{name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """Each shape that a field of a domain value may have."""

    texts: frozenset[str]
    numbers: tuple[int, ...]
    times: Mapping[str, datetime]
    state: GrantState | None = None


def test_sets_tuples_mappings_and_options_are_read_as_such() -> None:
    """Not as the lists and objects that JSON has for them."""
    value = Everything(
        texts=frozenset({"b", "a"}),
        numbers=(2, 1),
        times={"R-ABC234": FRIDAY_NOON + seconds(0.5)},
        state=GrantState.LIVE,
    )

    assert value == from_payload(Everything, through_json(value))
