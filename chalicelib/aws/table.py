"""The ledger's DynamoDB table: plain values in and out, conditional writes as booleans, AWS's errors translated."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.aws.attributes import from_attributes, to_attributes
from chalicelib.aws.errors import error_code, translated
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.payloads import PayloadError

Item = dict[str, Any]
_Stored = TypeVar("_Stored")
_Value = TypeVar("_Value")
WATCH_INDEX = "watch-index"

_NAME = re.compile(r"#(\w+)")
_BATCH = 100
"""Items that DynamoDB hands out at most in one answer (BatchGetItem)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One conditional write. ``#word`` in an expression stands for the attribute of that name, or what ``names`` says.

    With an ``update`` expression it updates ``key``; without, it puts ``item``.
    """

    key: tuple[str, str]
    item: Mapping[str, Any] | None = None
    update: str | None = None
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a conditional write came to, and the item that stood in its way or stands now."""

    is_done: bool
    item: Item | None = None


class Table:
    """Reads are consistent. Every method raises LedgerUnavailableError when DynamoDB does not answer.

    Where many are read at once, ``report`` is told of each that cannot be read, and the others are still read; without it the
    first raises PayloadError.
    """

    def __init__(self, client: Any, name: str, report: Callable[[str], object] | None = None) -> None:
        self._client = client
        self._name = name
        self._report = report

    def find(self, pk: str, sk: str) -> Item | None:
        """One item, or None."""
        with _ledger():
            answer = self._client.get_item(TableName=self._name, Key=_key((pk, sk)), ConsistentRead=True)
        return from_attributes(answer["Item"]) if "Item" in answer else None

    def find_all(self, keys: Sequence[tuple[str, str]]) -> list[Item]:
        """Those of the items that there are, in no order. No key may stand twice."""
        found: list[Item] = []
        left = [_key(key) for key in keys]
        with _ledger():
            while left:
                asked = {"Keys": left[:_BATCH], "ConsistentRead": True}
                answer = self._client.batch_get_item(RequestItems={self._name: asked})
                found += self._read_items(answer["Responses"].get(self._name, []))
                left = left[_BATCH:] + answer["UnprocessedKeys"].get(self._name, {}).get("Keys", [])
        return found

    def query(self, pk: str, *, last: int | None = None) -> list[Item]:
        """All items under one partition in order, or only the last few, newest first."""
        return self._pages(
            last,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_attributes({":pk": pk}),
            ConsistentRead=True,
            ScanIndexForward=last is None,
            **({"Limit": last} if last else {}),
        )

    def watched(self, kind: str, read: Callable[[Item], _Value]) -> list[_Value]:
        """The items of a kind that are still being watched, by when they end. Read from an index, so a moment old."""
        items = self._pages(
            None,
            IndexName=WATCH_INDEX,
            KeyConditionExpression="watch = :kind",
            ExpressionAttributeValues=to_attributes({":kind": kind}),
        )
        return self.read_each(((item["pk"], item) for item in items), read)

    def read_each(self, stored: Iterable[tuple[str, _Stored]], read: Callable[[_Stored], _Value]) -> list[_Value]:
        """What is stored under each name, as ``read`` reads it; without what it cannot read, where somebody is told."""
        values = []
        for name, each in stored:
            try:
                values.append(read(each))
            except PayloadError as error:
                if self._report is None:
                    raise
                self._report(f"unreadable in the ledger: {name}: {error}")
        return values

    def _read_items(self, items: Sequence[Mapping[str, Any]]) -> list[Item]:
        return self.read_each(((item["pk"]["S"], item) for item in items), from_attributes)

    def _pages(self, most: int | None, **query: Any) -> list[Item]:
        found: list[Item] = []
        with _ledger():
            while True:
                page = self._client.query(TableName=self._name, **query)
                found += self._read_items(page["Items"])
                if "LastEvaluatedKey" not in page or (most is not None and len(found) >= most):
                    return found[:most]
                query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def write(self, write: Write) -> Written:
        """Carry out one conditional write; not done, with the item in its way, when the condition does not hold."""
        arguments = _arguments(write, self._name)
        with _ledger():
            try:
                if write.update is None:
                    self._client.put_item(**arguments, ReturnValuesOnConditionCheckFailure="ALL_OLD")
                    return Written(is_done=True)
                answer = self._client.update_item(
                    **arguments, ReturnValues="ALL_NEW", ReturnValuesOnConditionCheckFailure="ALL_OLD"
                )
                return Written(is_done=True, item=from_attributes(answer["Attributes"]))
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                standing: Any = error.response.get("Item")
                return Written(is_done=False, item=from_attributes(standing) if standing else None)

    def write_together(self, writes: Sequence[Write]) -> list[Written]:
        """Carry out several conditional writes, all or none. Not done: the ones whose conditions did not hold."""
        actions = []
        for write in writes:
            arguments = _arguments(write, self._name) | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
            actions.append({"Put" if write.update is None else "Update": arguments})
        with _ledger():
            try:
                self._client.transact_write_items(TransactItems=actions)
            except ClientError as error:
                reasons = error.response.get("CancellationReasons", [])
                if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                    raise
                return [
                    Written(
                        is_done=reason.get("Code") != "ConditionalCheckFailed",
                        item=from_attributes(reason["Item"]) if reason.get("Item") else None,
                    )
                    for reason in reasons
                ]
        return [Written(is_done=True) for _ in writes]


def _ledger() -> Any:
    return translated(LedgerUnavailableError, "The ledger did not answer; try again in a minute")


def _arguments(write: Write, table: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {"TableName": table}
    if write.update is None:
        pk, sk = write.key
        arguments["Item"] = to_attributes({**(write.item or {}), "pk": pk, "sk": sk})
    else:
        arguments["Key"] = _key(write.key)
        arguments["UpdateExpression"] = write.update
    if write.condition is not None:
        arguments["ConditionExpression"] = write.condition
    if words := set(_NAME.findall(f"{write.update} {write.condition}")):
        given = write.names or {}
        arguments["ExpressionAttributeNames"] = {f"#{word}": given.get(word, word) for word in words}
    if write.values:
        arguments["ExpressionAttributeValues"] = to_attributes(
            {f":{name}": value for name, value in write.values.items()}
        )
    return arguments


def _key(key: tuple[str, str]) -> dict[str, Any]:
    return to_attributes({"pk": key[0], "sk": key[1]})
