"""Domain values to JSON and back, for state documents and ledger items. Reading checks every field and names the wrong one."""

import dataclasses
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Value = TypeVar("_Value")
_SCALARS = (str, int, bool)


class PayloadError(ValueError):
    """A payload does not have the shape that it must have; the message names the field."""


def to_payload(value: Any) -> Any:
    """A domain value as plain JSON: dataclasses and mappings become objects, sets are sorted lists.

    Instants are RFC 3339 in UTC with milliseconds, so that they sort as text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_payload(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_payload(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(to_payload(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [to_payload(item) for item in value]
    if value is None or isinstance(value, _SCALARS):
        return value
    raise PayloadError(f"a {type(value).__name__} cannot be written")


def from_payload(kind: type[_Value], payload: Any, *, path: str = "$") -> _Value:
    """Read a value of ``kind``. Unknown fields are passed over, so that an older release's documents stay readable.

    Raises PayloadError with the path of the field that is missing or of the wrong type.
    """
    value: _Value = _read(kind, payload, path)
    return value


def read_field(kind: type[_Value], payload: Any, path: str) -> _Value:
    """Read the value of ``kind`` that stands at a path, such as ``policy.answer``. Raises PayloadError, also when none does."""
    for name in path.split("."):
        if not isinstance(payload, Mapping) or name not in payload:
            raise PayloadError(f"{path} is missing")
        payload = payload[name]
    return from_payload(kind, payload, path=path)


def find_field(kind: type[_Value], payload: Any, path: str) -> _Value | None:
    """The same for a name at whose place null may stand, which is None."""
    return None if isinstance(payload, Mapping) and payload.get(path, ...) is None else read_field(kind, payload, path)


def _read(kind: Any, payload: Any, path: str) -> Any:
    if get_origin(kind) in {Union, types.UnionType}:
        return _read_optional(kind, payload, path)
    if (container := get_origin(kind)) is not None:
        return _read_container(container, get_args(kind), payload, path)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, payload, path)
    if kind is datetime:
        return _read_instant(payload, path)
    if issubclass(kind, Enum):
        try:
            return kind(payload)
        except ValueError as error:
            raise PayloadError(f"{path} is no {kind.__name__}") from error
    if type(payload) is not kind:
        raise PayloadError(f"{path} must be {kind.__name__}, not {type(payload).__name__}")
    return payload


def _read_optional(kind: Any, payload: Any, path: str) -> Any:
    (inner,) = (option for option in get_args(kind) if option is not type(None))
    return None if payload is None else _read(inner, payload, path)


def _read_container(container: Any, inner: tuple[Any, ...], payload: Any, path: str) -> Any:
    if issubclass(container, Mapping):
        if not isinstance(payload, Mapping):
            raise PayloadError(f"{path} must be an object")
        return {_read(inner[0], key, path): _read(inner[1], item, f"{path}.{key}") for key, item in payload.items()}
    if not isinstance(payload, list):
        raise PayloadError(f"{path} must be a list")
    return container(_read(inner[0], item, f"{path}[{index}]") for index, item in enumerate(payload))


def _read_dataclass(kind: Any, payload: Any, path: str) -> Any:
    if not isinstance(payload, Mapping):
        raise PayloadError(f"{path} must be an object")
    hints = _hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in payload:
            fields[field.name] = _read(hints[field.name], payload[field.name], f"{path}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise PayloadError(f"{path}.{field.name} is missing")
    return kind(**fields)


def _read_instant(payload: Any, path: str) -> datetime:
    try:
        instant = datetime.fromisoformat(payload)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadError(f"{path} is no instant") from error
    raise PayloadError(f"{path} names no time zone")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
