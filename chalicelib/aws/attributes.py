"""Plain values as DynamoDB's typed ones and back, for the kinds that the ledger holds and no others."""

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.payloads import PayloadError


def to_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Each value with its type. TypeError for a kind that the ledger does not hold, such as a float or a set."""
    return {name: _typed(value) for name, value in values.items()}


def from_attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an item. PayloadError for a kind that the ledger does not hold, and for a number that is not whole."""
    return {name: _plain(value) for name, value in item.items()}


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": str(value)}
        case Mapping():
            return {"M": to_attributes(value)}
        case list() | tuple():
            return {"L": [_typed(each) for each in value]}
    raise TypeError(f"The ledger holds no {type(value).__name__}.")


def _plain(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "BOOL" | "S":
            return value
        case "N":
            return _whole(value)
        case "M":
            return from_attributes(value)
        case "L":
            return [_plain(each) for each in value]
    raise PayloadError(f"The ledger holds nothing of DynamoDB's type {kind}.")


def _whole(number: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise PayloadError(f"The ledger holds no number such as {number[:40]}.") from error
