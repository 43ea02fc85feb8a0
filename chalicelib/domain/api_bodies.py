"""What callers of the API send: each field with its bounds, and reading it. Judges nobody, and knows no location."""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

from chalicelib import defaults
from chalicelib.domain.payloads import PayloadError, from_payload
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE, Ask

_Body = TypeVar("_Body")
LONGEST_BODY = 16 * 1024
"""Bytes."""
_LONGEST_SECONDS = 7 * 24 * 3600
_LEVEL = PermissionLevel(defaults.LEVEL)
_ORIGIN_ID = r"[A-Za-z0-9._:/@-]{1,64}"


class BodyError(ValueError):
    """A body cannot be read; the message names the field and says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a field holds, in words that follow "write". ``least`` and ``most`` bound a number, or the length of a text."""

    text: str
    least: int | None = None
    most: int | None = None
    pattern: str = ""

    def admits(self, value: Any) -> bool:
        """Does a value of the right type keep to the bounds?"""
        if isinstance(value, str):
            if not _is_text(value) or (self.pattern and not re.fullmatch(self.pattern, value)):
                return False
            value = len(value)
        if not isinstance(value, int):
            return True
        return (self.least is None or self.least <= value) and (self.most is None or value <= self.most)


ORIGIN_ID = About(
    text="a text that you use for this one ask and no other, of letters, digits and . _ : / @ -: whoever repeats it asks once",
    pattern=_ORIGIN_ID,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskBody:
    """Somebody asks for access."""

    location: Annotated[str, About(text="the location's name in the catalogue", least=1, most=63)]
    reason: Annotated[str, About(text="why, for those who approve it; may be empty", most=defaults.REASON_LENGTH)]
    origin_id: Annotated[str, ORIGIN_ID]
    level: Annotated[PermissionLevel, About(text="r for read, w for write, or o for operate")] = _LEVEL
    duration_seconds: Annotated[
        int | None,
        About(text="for how many seconds; an hour, or the level's cap, unless given", least=1, most=_LONGEST_SECONDS),
    ] = None
    environment: Annotated[
        str | None, About(text="the location's environment, to be sure that it is the one that is meant", most=63)
    ] = None
    region: Annotated[str | None, About(text="the location's region, likewise", most=63)] = None
    port: Annotated[
        int | None, About(text="the local port of the tunnel", least=LOCAL_PORTS.start, most=LOCAL_PORTS.stop - 1)
    ] = None
    profile: Annotated[
        str | None, About(text="the named AWS profile that delivered lines name", pattern=f"(?:{PROFILE.pattern})?")
    ] = None

    @property
    def ask(self) -> Ask:
        """The same in the words of every other way to ask."""
        return Ask(
            location=self.location,
            level=self.level,
            duration_seconds=self.duration_seconds,
            reason=self.reason,
            environment=self.environment,
            region=self.region,
            port=self.port,
            profile=self.profile,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionBody:
    """Somebody asks for a later end of what they hold."""

    duration_seconds: Annotated[
        int, About(text="by how many seconds the end shall move", least=1, most=_LONGEST_SECONDS)
    ]
    origin_id: Annotated[str, ORIGIN_ID]


def read_body(kind: type[_Body], raw: bytes) -> _Body:
    """The body of a request, as one of the classes above. Raises BodyError."""
    given = _read_object(raw)
    hints = get_type_hints(kind, include_extras=True)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # they are dataclasses
    if unknown := sorted(given.keys() - known.keys()):
        raise BodyError(f"There is no field '{unknown[0][:63]}'. Those that there are: {', '.join(known)}.")
    return kind(
        **{name: _read_field(field, hints[name], given) for name, field in known.items() if _is_said(field, given)}
    )


def read_level(text: str | None) -> PermissionLevel:
    """A level by its letter or word; the usual one unless it is given. Raises BodyError."""
    level = PermissionLevel.find_by_word(text or defaults.LEVEL)
    if level is None:
        raise BodyError("'level' cannot be read: write r for read, w for write, or o for operate.")
    return level


def _read_object(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > LONGEST_BODY:
        raise BodyError(f"The body is {len(raw)} bytes long; {LONGEST_BODY} is the most.")
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BodyError("The body is no JSON. Send an object with the fields of docs/openapi.json.") from error
    if not isinstance(given, dict):
        raise BodyError("The body is no object. Send one with the fields of docs/openapi.json.")
    return given


def _is_said(field: Field[Any], given: Mapping[str, Any]) -> bool:
    return field.name in given or field.default is MISSING


def _read_field(field: Field[Any], hint: Any, given: Mapping[str, Any]) -> Any:
    kind, (about,) = hint.__origin__, hint.__metadata__
    if field.name not in given:
        raise BodyError(f"'{field.name}' is missing: write {about.text}.")
    try:
        value = from_payload(kind, given[field.name], path=field.name)
    except PayloadError as error:
        raise BodyError(f"'{field.name}' cannot be read: write {about.text}.") from error
    if not about.admits(value):
        raise BodyError(f"'{field.name}' is not possible: write {about.text}{_bounds(about)}.")
    return value


def _bounds(about: About) -> str:
    said = [f"at least {about.least}"] if about.least is not None else []
    said += [f"at most {about.most}"] if about.most is not None else []
    return f" ({', '.join(said)})" if said else ""


def _is_text(value: str) -> bool:
    """JSON can spell halves of characters, which nothing else can write."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)
