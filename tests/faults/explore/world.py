"""What all explored worlds share: the ledger's items as a value, read and written by the real table, and the time."""

import json
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.table import Table
from chalicelib.domain.errors import AccessError
from tests.factories import FRIDAY_NOON
from tests.faults.explore.dynamo import ModelDynamo
from tests.faults.explore.verbs import Asked


class Items(tuple[tuple[str, str, str], ...]):
    """Every item: its two keys and its attributes as JSON, in order. Equal ledgers are the same object, so that comparing and
    hashing cost nothing.
    """

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


_ALL: dict[tuple[tuple[str, str, str], ...], Items] = {}


def items_of(given: Iterable[tuple[str, str, str]]) -> Items:
    """The one object for these items."""
    plain = tuple(given)
    return _ALL.setdefault(plain, Items(plain))


EMPTY = items_of(())
_NAME = "ledger"


def instant(now: int) -> datetime:
    """So many seconds after the start."""
    return FRIDAY_NOON + timedelta(seconds=now)


def frozen(dynamo: ModelDynamo) -> Items:
    items = dynamo.tables[_NAME].items()
    return items_of(sorted((pk, sk, json.dumps(item, sort_keys=True)) for (pk, sk), item in items))


def thawed(items: Items) -> ModelDynamo:
    dynamo = ModelDynamo()
    dynamo.tables[_NAME] = {(pk, sk): json.loads(text) for pk, sk, text in items}
    return dynamo


def table_of(dynamo: ModelDynamo) -> Table:
    return Table(dynamo, _NAME)


def written(act: Callable[[Table], object], items: Items = EMPTY) -> Items:
    """The items after somebody did something through the real table."""
    dynamo = thawed(items)
    act(table_of(dynamo))
    return frozen(dynamo)


class Tables:
    """Answers calls of the table, each with the same items once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[str, Any, Items]] = {}

    def answer(self, asked: Asked, items: Items, shown: Items | None = None) -> tuple[str, Any, Items]:
        """The answer with its key, and the items afterwards. ``shown`` is what the index holds where it lags behind."""
        known = (asked.key, items, shown)
        if known not in self._known:
            self._known[known] = self._compute(asked, items, shown)
        return self._known[known]

    def _compute(self, asked: Asked, items: Items, shown: Items | None) -> tuple[str, Any, Items]:
        dynamo = thawed(items)
        if shown is not None:
            dynamo.watched[_NAME] = thawed(shown).tables[_NAME]
        answer: Any
        try:
            answer = getattr(table_of(dynamo), asked.method)(*asked.arguments, **asked.named)
        except AccessError as error:
            answer = error
        return repr(answer), answer, frozen(dynamo)


def keys_of(asked: Asked) -> set[str]:
    """The partitions that a call of the table touches; of an index its name."""
    match asked.method:
        case "find" | "query" | "watched":
            return {asked.arguments[0]}
        case "find_all":
            return {pk for pk, _ in asked.arguments[0]}
        case "write":
            return {asked.arguments[0].key[0]}
        case _:
            return {write.key[0] for write in asked.arguments[0]}
