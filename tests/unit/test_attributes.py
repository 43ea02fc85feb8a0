"""Plain values as DynamoDB's typed ones, beside boto3's own conversion."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.attributes import from_attributes, to_attributes
from chalicelib.domain.payloads import PayloadError
from chalicelib.domain.permissions import PermissionLevel

LONGEST = 10**38 - 1
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LONGEST, LONGEST) | st.text() | st.sampled_from(PermissionLevel),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES))
def test_values_are_typed_as_boto3_types_them(values: dict[str, Any]) -> None:
    """And come back as they were."""
    assert {name: TypeSerializer().serialize(value) for name, value in values.items()} == to_attributes(values)
    assert values == from_attributes(to_attributes(values))


@given(st.dictionaries(st.text(), VALUES))
def test_boto3_reads_what_was_typed_here(values: dict[str, Any]) -> None:
    """Two releases may run side by side."""
    attributes = to_attributes(values)

    assert values == {name: TypeDeserializer().deserialize(attribute) for name, attribute in attributes.items()}


@pytest.mark.parametrize("value", [1.5, Decimal(1), b"bytes", {"a set"}, object(), [1.5], {"deep": [{"down": 1.5}]}])
def test_what_the_ledger_does_not_hold_is_refused(value: object) -> None:
    """A float would come back as another one."""
    with pytest.raises(TypeError, match="The ledger holds no"):
        to_attributes({"value": value})


@pytest.mark.parametrize("attribute", [{"SS": ["a"]}, {"B": "YQ=="}, {"N": "1.5"}, {"N": "1E+3"}, {"NS": ["1"]}])
def test_what_somebody_else_wrote_is_refused(attribute: dict[str, Any]) -> None:
    """Half a number must not count as a whole one."""
    with pytest.raises(PayloadError, match="The ledger holds no"):
        from_attributes({"value": attribute})
