"""DynamoDB's condition and update expressions, exactly, for the part of the language that the ledger uses and no more."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Typed = Mapping[str, Any]
"""One value as DynamoDB spells it, such as ``{"S": "live"}``."""
Attributes = dict[str, Any]
_TOKEN = re.compile(r"\s*(?:(<>|<=|>=|[=<>(),.])|([#:]?\w+))")
_FUNCTIONS = {"attribute_exists", "attribute_not_exists", "size"}
_CLAUSES = {"SET", "REMOVE", "ADD"}


class ExpressionError(ValueError):
    """What DynamoDB answers with a ValidationException."""


@dataclass(frozen=True, slots=True)
class Given:
    """The names and values that come with an expression."""

    names: Mapping[str, str]
    values: Mapping[str, Typed]
    used: set[str] = field(default_factory=set)
    """The placeholders that were read. DynamoDB refuses a call that brings others."""


Path = tuple[str, ...]
Operand = Callable[[Attributes, Given], Any]
Condition = Callable[[Attributes, Given], bool]


def placeholders(*expressions: str | None) -> set[str]:
    """Every ``#name`` and ``:value`` that the expressions speak of."""
    return {word for text in expressions if text for _, word in _TOKEN.findall(text) if word.startswith(("#", ":"))}


def holds(expression: str, item: Attributes, given: Given) -> bool:
    """Does the condition hold for the item? One that is not there is an item without attributes."""
    return _condition(expression)(item, given)


def updated(expression: str, item: Attributes, given: Given) -> Attributes:
    """The item after the update. Every value is a placeholder; every path a name, or two with a dot between them."""
    changed = {name: _copied(value) for name, value in item.items()}
    for clause, path, value in _update(expression):
        _change(changed, clause, _resolved(path, given), given.values[value] if value else None)
    return changed


def _copied(value: Any) -> Any:
    return {"M": {name: _copied(inner) for name, inner in value["M"].items()}} if "M" in value else value


def _resolved(path: Path, given: Given) -> Path:
    return tuple(given.names[part] if part.startswith("#") else part for part in path)


def _change(item: Attributes, clause: str, path: Path, value: Typed | None) -> None:
    *parents, last = path
    place = item
    for parent in parents:
        if parent not in place or "M" not in place[parent]:
            raise ExpressionError("The document path provided in the update expression is invalid for update")
        place = place[parent]["M"]
    if clause == "REMOVE":
        place.pop(last, None)
    elif clause == "SET":
        place[last] = value
    else:
        before = place.get(last, {"N": "0"})
        if value is None or "N" not in before or "N" not in value:
            raise ExpressionError("An operand in the update expression has an incorrect data type")
        place[last] = {"N": str(int(before["N"]) + int(value["N"]))}


class _Tokens:
    """The words of an expression, read from left to right."""

    def __init__(self, text: str) -> None:
        self._words, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise NotImplementedError(f"{text!r} at {at}")
            self._words.append(found[1] or found[2])
            at = found.end()

    @property
    def next(self) -> str:
        return self._words[0] if self._words else ""

    def take(self, *expected: str) -> str:
        if not self._words or (expected and self._words[0] not in expected):
            raise NotImplementedError(f"{expected or 'something'} expected before {self._words}")
        return self._words.pop(0)

    def takes(self, word: str) -> bool:
        if self.next != word:
            return False
        self._words.pop(0)
        return True


@cache
def _condition(text: str) -> Condition:
    tokens = _Tokens(text)
    condition = _any(tokens)
    if tokens.next:
        raise NotImplementedError(f"{tokens.next!r} in {text!r}")
    return condition


def _any(tokens: _Tokens) -> Condition:
    parts = [_all(tokens)]
    while tokens.takes("OR"):
        parts.append(_all(tokens))
    return parts[0] if len(parts) == 1 else lambda item, given: any(part(item, given) for part in parts)


def _all(tokens: _Tokens) -> Condition:
    parts = [_not(tokens)]
    while tokens.takes("AND"):
        parts.append(_not(tokens))
    return parts[0] if len(parts) == 1 else lambda item, given: all(part(item, given) for part in parts)


def _not(tokens: _Tokens) -> Condition:
    if tokens.takes("NOT"):
        inner = _not(tokens)
        return lambda item, given: not inner(item, given)
    if tokens.takes("("):
        inner = _any(tokens)
        tokens.take(")")
        return inner
    if tokens.next in {"attribute_exists", "attribute_not_exists"}:
        is_wanted = tokens.take() == "attribute_exists"
        tokens.take("(")
        operand = _path_operand(tokens)
        tokens.take(")")
        return lambda item, given: (operand(item, given) is not None) is is_wanted
    return _comparison(tokens)


def _comparison(tokens: _Tokens) -> Condition:
    left = _operand(tokens)
    comparator = tokens.take("=", "<>", "<", "<=", ">", ">=", "IN")
    if comparator == "IN":
        tokens.take("(")
        listed = [_operand(tokens)]
        while tokens.takes(","):
            listed.append(_operand(tokens))
        tokens.take(")")
        return lambda item, given: any(_compare("=", left(item, given), each(item, given)) for each in listed)
    right = _operand(tokens)
    return lambda item, given: _compare(comparator, left(item, given), right(item, given))


def _operand(tokens: _Tokens) -> Operand:
    if tokens.next in _FUNCTIONS:
        tokens.take("size")
        tokens.take("(")
        operand = _path_operand(tokens)
        tokens.take(")")
        return lambda item, given: _size(operand(item, given))
    if tokens.next.startswith(":"):
        value = tokens.take()
        return lambda _, given: given.values[value]
    return _path_operand(tokens)


def _path_operand(tokens: _Tokens) -> Operand:
    path = _path(tokens)

    def read(item: Attributes, given: Given) -> Any:
        *parents, last = _resolved(path, given)
        place: Any = item
        for parent in parents:
            place = place.get(parent, {}).get("M", {})
        return place.get(last)

    return read


def _path(tokens: _Tokens) -> Path:
    path = [tokens.take()]
    while tokens.takes("."):
        path.append(tokens.take())
    return tuple(path)


def _size(value: Typed | None) -> Typed | None:
    if value is None:
        return None
    ((kind, content),) = value.items()
    if kind not in {"S", "M", "L"}:
        raise ExpressionError(
            f"Incorrect operand type for operator or function; operator or function: size, type: {kind}"
        )
    return {"N": str(len(content.encode() if kind == "S" else content))}


def _compare(comparator: str, left: Typed | None, right: Typed | None) -> bool:
    if comparator == "<>":
        return bool(left != right)
    if left is None or right is None:
        return False
    if comparator == "=":
        return bool(left == right)
    (((left_kind, before),), ((right_kind, after),)) = left.items(), right.items()
    if left_kind != right_kind or left_kind not in {"N", "S"}:
        return False
    if left_kind == "N":
        before, after = int(before), int(after)
    else:
        before, after = before.encode(), after.encode()
    return bool({"<": before < after, "<=": before <= after, ">": before > after, ">=": before >= after}[comparator])


@cache
def _update(text: str) -> tuple[tuple[str, Path, str | None], ...]:
    tokens, changes = _Tokens(text), list[tuple[str, Path, str | None]]()
    while tokens.next:
        clause = tokens.take(*_CLAUSES)
        while True:
            path = _path(tokens)
            if clause == "SET":
                tokens.take("=")
            value = None if clause == "REMOVE" else tokens.take()
            if value is not None and not value.startswith(":"):
                raise NotImplementedError(f"{value!r} in {text!r}")
            changes.append((clause, path, value))
            if not tokens.takes(","):
                break
    return tuple(changes)
