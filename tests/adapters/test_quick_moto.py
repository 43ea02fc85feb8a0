"""What moto is spared changes no answer."""

from collections.abc import Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

from local import quick_moto
from local.seed import create_ledger
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


def new_client() -> Any:
    return boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret"
    )


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    """moto as it is, with an empty table."""
    with mock_aws():
        client = new_client()
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


def write_of(kind: str, pk: str, sk: str, watch: str, condition: str) -> dict[str, Any]:
    """One action of a transaction: it puts, changes or deletes an item of few, and what it puts or changes is watched."""
    key, ends_at = {"pk": {"S": pk}, "sk": {"S": sk}}, {"S": "later" if kind == "Update" else "soon"}
    guarded = {"ConditionExpression": f"{condition}(sk)"} if condition else {}
    update = {"Key": key, "UpdateExpression": "SET watch = :watch, ends_at = :ends_at"}
    update["ExpressionAttributeValues"] = {":watch": {"S": watch}, ":ends_at": ends_at}
    what = {"Put": {"Item": key | {"watch": {"S": watch}, "ends_at": ends_at}}, "Update": update}
    return {kind: what.get(kind, {"Key": key}) | guarded}


writes = st.builds(
    write_of,
    st.sampled_from(["Put", "Put", "Update", "Update", "Delete"]),
    st.sampled_from("ab"),
    st.sampled_from("123"),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["", "attribute_exists", "attribute_not_exists"]),
)


def answers(client: Any, table: str, transactions: Iterable[list[dict[str, Any]]]) -> list[Any]:
    """What it says of each transaction, and what each question then finds."""
    heard: list[Any] = []
    for actions in transactions:
        named = [{kind: {"TableName": table} | what for kind, what in action.items()} for action in actions]
        try:
            client.transact_write_items(TransactItems=named)
        except ClientError as error:
            heard.append((error.response["Error"], error.response.get("CancellationReasons")))
        heard.append(client.scan(TableName=table)["Items"])
        for question in (("pk", "a"), ("pk", "none"), ("watch", "x")):
            heard += [
                find(client, table, *question, further) for further in ({"Limit": 1}, {"ScanIndexForward": False})
            ]
    return heard


def find(client: Any, table: str, name: str, value: str, further: dict[str, Any]) -> list[Any]:
    """Every page of a query, of the table or of its index."""
    index = {"IndexName": "watch-index"} if name == "watch" else {}
    condition = {"KeyConditionExpression": f"{name} = :v", "ExpressionAttributeValues": {":v": {"S": value}}}
    pages = client.get_paginator("query").paginate(TableName=table, **index, **condition, **further)
    return [page["Items"] for page in pages]


@settings(max_examples=12)
@given(transactions=st.lists(st.lists(writes, min_size=1, max_size=3), min_size=2, max_size=5))
def test_transactions_and_queries_come_to_the_same(transactions: list[list[dict[str, Any]]]) -> None:
    """Carried out or cancelled, in every order, by partition and by index, page by page."""
    with mock_aws():
        client = new_client()
        for name in ("plain", "quick"):
            create_ledger(client, name)
        with installed(quick_moto.MENDS):
            quick = answers(client, "quick", transactions)
        plain = answers(client, "plain", transactions)

    assert plain == quick
