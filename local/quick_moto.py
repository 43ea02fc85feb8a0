"""Spares moto, cut for 5.2.5, what it reckons, copies or keeps anew at each call; it answers as before."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partialmethod
from typing import Any

from moto.core import responses
from moto.core.serialize import ResponseSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.settings import moto_server_port
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
from moto.stepfunctions.parser.asl.utils import json_path

_AS_KEPT = {"S", "N", "SS", "NS", "BOOL", "NULL"}
_parse = AmazonStateLanguageParser.parse
_connect = lambda_eval_utils.boto_client_for
_serialize = ResponseSerializer._serialize_type_structure  # noqa: SLF001 - mending moto means reaching into it


@lru_cache(maxsize=16)
def _tree(definition: str) -> Any:
    return _parse(definition)[1]


def _program(definition: str) -> tuple[Any, Any]:
    """A program of its own for each execution, since it runs; from one syntax tree, which is only read."""
    tree = _tree(definition)
    return Preprocessor().visit(tree), tree


@lru_cache(maxsize=4)
def _client_at(_port: str, region: str, service: str) -> Any:
    return _connect(region=region, service=service)


def _client(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001 - moto's own ignores them too
    """One client for all Tasks of a workspace: making it takes longer than what it is made for."""
    return _client_at(moto_server_port(), region, service)


def _attribute(
    serializer: Any, original: Callable[..., None], serialized: Any, value: Any, shape: Any, key: str
) -> None:
    """A value in DynamoDB has one member, and most go out as they are kept; moto looks for ten, under many names each."""
    if not (shape.name == "AttributeValue" and key and type(value) is dict and value.keys() <= shape.members.keys()):
        original(serializer, serialized, value, shape, key)
        return
    serialized[key] = {}
    for name, member in value.items():
        if name in _AS_KEPT:
            serialized[key][name] = member
        else:
            serializer._serialize(serialized[key], member, shape.members[name], name)  # noqa: SLF001 - as above


def _part(table: Any, items: Any) -> Any:
    """The same table, as if these partitions were all that it has."""
    part = object.__new__(type(table))
    vars(part).update(vars(table), items=defaultdict(dict, items))
    return part


def _query(table: Any, original: Callable[..., Any], hash_key: Any, *rest: Any, **named: Any) -> Any:
    """Looks only where the answer can be; moto sorts all that there is, and then looks."""
    items, asked = table.items, dict(named["hash_key_conditions"]).items()
    if rest[6] is None:  # no index
        items = {hash_key: items[hash_key]} if hash_key in items else {}
    elif table.range_key_attr:
        items = {
            pk: {
                sk: item
                for sk, item in found.items()
                if all(key in item.attrs and item.attrs[key] == v for key, v in asked)
            }
            for pk, found in items.items()
        }
    return original(_part(table, items), hash_key, *rest, **named)


def _transact(backend: Any, original: Callable[..., None], transact_items: Iterable[Any]) -> None:
    """With the partitions that it writes to; moto copies the whole table, in case that it has to go back to that."""
    tables, touched = backend.tables, defaultdict[str, set[DynamoType]](set)
    for write in (write for action in transact_items for write in action.values() if write["TableName"] in tables):
        attribute = tables[write["TableName"]].hash_key_attr
        touched[write["TableName"]] |= {DynamoType((write.get("Key") or write["Item"])[attribute])}
    whole = {name: tables[name].items for name in touched}
    parts = {name: {pk: items[pk] for pk in touched[name] & items.keys()} for name, items in whole.items()}
    backend.tables = tables | {name: _part(tables[name], part) for name, part in parts.items()}
    try:
        original(backend, transact_items)
    finally:
        after, backend.tables = backend.tables, tables
        for name, items in whole.items():
            for pk in parts[name]:
                del items[pk]
            items.update(after[name].items)


MENDS: list[tuple[Any, str, Any]] = [
    (AmazonStateLanguageParser, "parse", staticmethod(_program)),
    (ResponseSerializer, "_serialize_type_structure", partialmethod(_attribute, _serialize)),
    (Table, "query", partialmethod(_query, Table.query)),
    (DynamoDBBackend, "transact_write_items", partialmethod(_transact, DynamoDBBackend.transact_write_items)),
    (Item, "instances_tracked", deque(maxlen=0)),  # each copy of each item, for a page that nobody opens
    (lambda_eval_utils, "boto_client_for", _client),
    (responses, "method_names_from_class", cache(responses.method_names_from_class)),
    (json_path, "parse", lru_cache(maxsize=512)(json_path.parse)),
]
"""As in `strict_asl`: an owner, the name of something it has, what is to stand there instead."""
