"""What moto is spared changes no answer."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

from local import quick_moto
from local.strict_asl import installed
from tests.statemachines.definition import FILE

VALUES: list[dict[str, Any]] = [
    {"S": "text"},
    {"S": ""},
    {"N": "1.5"},
    {"B": b"\x00\xff"},
    {"BOOL": False},
    {"BOOL": True},
    {"NULL": True},
    {"SS": ["a", "b"]},
    {"NS": ["1", "2"]},
    {"BS": [b"\x00", b"\xff"]},
    {"L": []},
    {"L": [{"S": "in a list"}, {"B": b"bytes"}, {"L": [{"NULL": True}]}]},
    {"M": {}},
    {"M": {"S": {"S": "named as a type is"}, "B": {"BOOL": False}, "deeper": {"M": {"n": {"N": "7"}}}}},
]


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    """moto as it is, with an empty table."""
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret"
        )
        client.create_table(
            TableName="values",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        yield client


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_value_of_each_kind_comes_back_as_it_was(dynamodb: Any, value: dict[str, Any]) -> None:
    """Whichever operation reads it."""
    dynamodb.put_item(TableName="values", Item={"pk": {"S": "one"}, "value": value})
    with installed(quick_moto.MENDS):
        got = dynamodb.get_item(TableName="values", Key={"pk": {"S": "one"}})["Item"]["value"]
        (scanned,) = dynamodb.scan(TableName="values")["Items"]

    assert (value, value) == (got, scanned["value"])


def test_each_execution_has_a_program_of_its_own() -> None:
    """A program keeps what it is doing; only the syntax tree is shared."""
    definition = FILE.read_text(encoding="utf-8")
    with installed(quick_moto.MENDS):
        (one, tree), (other, same_tree) = (AmazonStateLanguageParser.parse(definition) for _ in range(2))

    assert one is not other
    assert tree is same_tree


def test_a_definition_with_a_mistake_is_refused_each_time() -> None:
    """A refusal is nothing to remember."""
    with installed(quick_moto.MENDS):
        for _ in range(2):
            with pytest.raises(ASLParserException):
                AmazonStateLanguageParser.parse('{"StartAt": }')
