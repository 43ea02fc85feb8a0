"""DynamoDB's answers to the calls that the ledger makes, computed in this process: as strict as the real one and far faster.

A call, an argument or an expression that the ledger never uses is refused as not implemented.
"""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.table import WATCH_INDEX
from tests.faults.explore.expressions import Attributes, ExpressionError, Given, holds, placeholders, updated

Place = tuple[str, str]
Items = dict[Place, Attributes]
_READ = {"TableName", "Key", "ConsistentRead"}
_WRITTEN = {
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
}
_PAGE_BYTES = 1_000_000
_BATCH, _TRANSACTION = 100, 100


class ModelDynamo:
    """A client of tables that are dictionaries. ``watched`` holds what the index shows where it lags behind the table."""

    def __init__(self) -> None:
        self.tables: dict[str, Items] = {}
        self.watched: dict[str, Items] = {}
        self._transactions: dict[str, Any] = {}

    def create_table(self, **said: Any) -> None:
        """A table of the ledger's own shape; the shape itself is the template's business."""
        self.tables[said["TableName"]] = {}

    def get_item(self, **said: Any) -> dict[str, Any]:
        _accept(said, _READ)
        item = self._table(said).get(_place(said["Key"]))
        return {"Item": item} if item is not None else {}

    def batch_get_item(self, **said: Any) -> dict[str, Any]:
        _accept(said, {"RequestItems"})
        ((name, asked),) = said["RequestItems"].items()
        _accept(asked, {"Keys", "ConsistentRead"})
        places = [_place(key) for key in asked["Keys"]]
        if not 0 < len(places) <= _BATCH or len(places) != len(set(places)):
            raise _refused("BatchGetItem", "Provided list of item keys contains duplicates or is too long")
        items = self.tables[name]
        return {"Responses": {name: [items[place] for place in places if place in items]}, "UnprocessedKeys": {}}

    def query(self, **said: Any) -> dict[str, Any]:
        _accept(
            said,
            {
                "TableName",
                "IndexName",
                "KeyConditionExpression",
                "ExpressionAttributeValues",
                "ConsistentRead",
                "ScanIndexForward",
                "Limit",
                "ExclusiveStartKey",
            },
        )
        found = self._under_one_key(said)
        if not said.get("ScanIndexForward", True):
            found.reverse()
        if "ExclusiveStartKey" in said:
            start = _place(said["ExclusiveStartKey"])
            found = found[1 + next(number for number, item in enumerate(found) if _place(item) == start) :]
        page, size = list[Attributes](), 0
        for item in found[: said.get("Limit")]:
            size += len(json.dumps(item))
            if page and size > _PAGE_BYTES:
                break
            page.append(item)
        if len(page) < len(found):
            last = page[-1]
            return {"Items": page, "LastEvaluatedKey": {name: last[name] for name in ("pk", "sk")}}
        return {"Items": page}

    def _under_one_key(self, said: Mapping[str, Any]) -> list[Attributes]:
        values = said["ExpressionAttributeValues"]
        if "IndexName" in said:
            if (said["IndexName"], said["KeyConditionExpression"]) != (WATCH_INDEX, "watch = :kind"):
                raise NotImplementedError(said)
            if said.get("ConsistentRead"):
                raise _refused("Query", "Consistent reads are not supported on global secondary indexes")
            shown = self.watched.get(said["TableName"], self._table(said))
            in_index = [item for item in shown.values() if item.get("watch") == values[":kind"] and "ends_at" in item]
            return sorted(in_index, key=lambda item: str(item["ends_at"]["S"]))
        if said["KeyConditionExpression"] != "pk = :pk":
            raise NotImplementedError(said)
        own = [item for item in self._table(said).values() if item["pk"] == values[":pk"]]
        return sorted(own, key=lambda item: str(item["sk"]["S"]))

    def put_item(self, **said: Any) -> dict[str, Any]:
        self._write(said, "PutItem")
        return {}

    def update_item(self, **said: Any) -> dict[str, Any]:
        returned = said.pop("ReturnValues", "NONE")
        if returned not in {"NONE", "ALL_NEW"}:
            raise NotImplementedError(returned)
        changed = self._write(said, "UpdateItem")
        return {"Attributes": changed} if returned == "ALL_NEW" else {}

    def _write(self, said: Mapping[str, Any], operation: str) -> Attributes:
        place, before, after = self._judged(said, operation)
        if after is None:
            is_shown = before and said.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            shown: dict[str, Any] = {"Item": before} if is_shown else {}
            raise _error("ConditionalCheckFailedException", operation, **shown)
        self._table(said)[place] = after
        return after

    def transact_write_items(self, **said: Any) -> dict[str, Any]:
        _accept(said, {"TransactItems", "ClientRequestToken"})
        token = said.get("ClientRequestToken")
        if token in self._transactions:
            if self._transactions[token] != said["TransactItems"]:
                raise _error("IdempotentParameterMismatchException", "TransactWriteItems")
            return {}
        judged, reasons = [], []
        for action in said["TransactItems"]:
            ((kind, write),) = action.items()
            judged.append((write, *self._judged(write, {"Put": "PutItem", "Update": "UpdateItem"}[kind])))
            *_, before, after = judged[-1]
            shown = before and write.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            failed: dict[str, Any] = {"Code": "ConditionalCheckFailed", **({"Item": before} if shown else {})}
            reasons.append(failed if after is None else {"Code": "None"})
        places = [(write["TableName"], place) for write, place, _, _ in judged]
        if len(places) > _TRANSACTION or len(places) != len(set(places)):
            raise _refused("TransactWriteItems", "Transaction request cannot include multiple operations on one item")
        if any(after is None for *_, after in judged):
            raise _error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        for write, place, _, after in judged:
            assert after is not None
            self._table(write)[place] = after
        if token:
            self._transactions[token] = said["TransactItems"]
        return {}

    def _judged(self, said: Mapping[str, Any], operation: str) -> tuple[Place, Attributes, Attributes | None]:
        """The item before the write and after; no item after when the condition does not hold."""
        is_update = operation == "UpdateItem"
        _accept(said, _WRITTEN | ({"Key", "UpdateExpression"} if is_update else {"Item"}))
        update, condition = said.get("UpdateExpression"), said.get("ConditionExpression")
        given = Given(said.get("ExpressionAttributeNames", {}), said.get("ExpressionAttributeValues", {}))
        if placeholders(update, condition) != {*given.names, *given.values}:
            raise _refused(operation, "A placeholder is unused in expressions, or not defined")
        place = _place(said["Key"] if is_update else said["Item"])
        before = self._table(said).get(place, {})
        try:
            if condition is not None and not holds(condition, before, given):
                return place, before, None
            if update is None:
                return place, before, dict(said["Item"])
            return place, before, updated(update, {**before, **said["Key"]}, given)
        except ExpressionError as error:
            raise _refused(operation, str(error)) from error

    def _table(self, said: Mapping[str, Any]) -> Items:
        name = said["TableName"]
        if name not in self.tables:
            raise _error("ResourceNotFoundException", "Query")
        return self.tables[name]


def _place(key: Mapping[str, Any]) -> Place:
    return key["pk"]["S"], key["sk"]["S"]


def _accept(said: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(said) - known:
        raise NotImplementedError(f"{sorted(unknown)} is never asked by the ledger")


def _refused(operation: str, message: str) -> ClientError:
    return _error("ValidationException", operation, message)


def _error(code: str, operation: str, message: str = "", **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message or code}, **more}
    return ClientError(response, operation)
