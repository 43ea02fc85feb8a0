"""The words of ``/db-access``: its subcommands, its options, and the kinds of values that they take."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib import defaults
from chalicelib.domain.command_words import with_plain_dashes
from chalicelib.domain.commands import (
    COMMAND,
    EVERY_ACCESS,
    USAGE,
    CancelRequest,
    Command,
    EndAccess,
    ExplainLevel,
    ExtendAccess,
    ShowCost,
    ShowHelp,
    ShowHistory,
    ShowLocations,
    ShowMine,
    ShowToken,
)
from chalicelib.domain.durations import find_duration
from chalicelib.domain.nearest import find_nearest
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE, REQUEST_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of value: how it is read, what is said of a failed try, and what was probably meant by it."""

    find: Callable[[str], Any]
    rule: str
    guess: Callable[[str], Any]
    looks_like: re.Pattern[str] | None = None
    """What is taken for a failed try where a word could also be something else."""


_NUMBER_AND_UNIT = re.compile(r"[+-]?(\d+(?:[.,]\d+)?)\s*([a-z]*)", re.IGNORECASE)
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
PLACE_OF_A_LOCATION = "LOCATION"


def _find_request_id(text: str) -> str | None:
    upper = with_plain_dashes(text).upper()
    return upper if REQUEST_ID.fullmatch(upper) else None


def find_name(text: str) -> str | None:
    """Catalogues know small letters alone, and phones begin with a capital one; the word of our own help stays as it is."""
    return (text if text == PLACE_OF_A_LOCATION else text.lower()) or None


def _find_port(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{4,5}", text) and int(text) in LOCAL_PORTS else None


def _guess_duration(text: str) -> int:
    """The nearest length of time that anybody can get; a number alone is hours when it is small, else minutes."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        return defaults.DURATIONS.access
    count = min(float(match[1].replace(",", ".")), float(defaults.DURATIONS.cap))
    unit = match[2][:1].lower() or ("h" if count * 3600 <= defaults.DURATIONS.cap else "m")
    seconds = round(count * UNIT_SECONDS.get(unit, 3600) / 60) * 60
    return min(seconds, defaults.DURATIONS.cap) or defaults.DURATIONS.access


def _guess_level(text: str) -> PermissionLevel | None:
    near = find_nearest(text.lower(), [level.word for level in PermissionLevel], cutoff=0.7)
    return PermissionLevel.find_by_word(near) if near else None


LEVEL = Kind(
    find=PermissionLevel.find_by_word,
    rule="is no level. There are r (read), w (write) and o (operate).",
    guess=_guess_level,
)
DURATION = Kind(
    find=find_duration,
    rule="is no duration. Write it like 30m, 2h or 1h30m.",
    guess=_guess_duration,
    looks_like=re.compile(r"[+-]?\d+(?:[.,]\d+)?[a-z]*", re.IGNORECASE),
)
_REQUEST = Kind(
    find=_find_request_id,
    rule=f"is no request id. One is R- and six characters; {COMMAND} mine shows yours.",
    guess=lambda _: None,
    looks_like=re.compile(r"r\W.*", re.IGNORECASE | re.DOTALL),
)
_EVERY_ACCESS_OR_REQUEST = Kind(
    find=lambda text: EVERY_ACCESS if text.lower() == EVERY_ACCESS else _find_request_id(text),
    rule=_REQUEST.rule,
    guess=_REQUEST.guess,
    looks_like=_REQUEST.looks_like,
)
NAME = Kind(find=find_name, rule="is no name.", guess=lambda _: None)
_PORT = Kind(
    find=_find_port,
    rule="is no local port. It is a number from 1024 to 65535.",
    guess=lambda _: defaults.LOCAL_PORT,
)
_PROFILE = Kind(
    find=lambda text: text if PROFILE.fullmatch(text) else None,
    rule="is no AWS profile that can stand in a command: letters, digits and . _ : / @ - can, without - or @ at the beginning.",
    guess=lambda _: None,
)
REASON = Kind(find=lambda text: text or None, rule="is no reason.", guess=lambda _: None)
FLAG = Kind(find=bool, rule="", guess=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """An option of asking: the field of Ask that it sets, and its line of help; without one for an older name of another."""

    sets: str
    kind: Kind
    usage: str
    does: str = ""


OPTIONS = {
    "for": _Option(
        sets="duration_seconds", kind=DURATION, usage="--for 2h", does="how long, from the moment it is ready"
    ),
    "reason": _Option(sets="reason", kind=REASON, usage='--reason "…"', does="why, to those who decide"),
    "permission": _Option(
        sets="level", kind=LEVEL, usage="--permission r|w|o", does="the level: read, write or operate"
    ),
    "location": _Option(
        sets="location", kind=NAME, usage="--location NAME", does="for a location that is called like a command"
    ),
    "env": _Option(
        sets="environment", kind=NAME, usage="--env ENVIRONMENT", does="refuses when the location is another's"
    ),
    "region": _Option(
        sets="region", kind=NAME, usage="--region REGION", does="refuses when the location lies elsewhere"
    ),
    "port": _Option(sets="port", kind=_PORT, usage="--port 56789", does="the port on your machine; remembered"),
    "localport": _Option(sets="port", kind=_PORT, usage="--localport 56789"),
    "profile": _Option(sets="profile", kind=_PROFILE, usage="--profile NAME", does="your AWS profile; remembered"),
    "awsprofile": _Option(sets="profile", kind=_PROFILE, usage="--awsprofile NAME"),
    "break-glass": _Option(
        sets="is_break_glass",
        kind=FLAG,
        usage="--break-glass",
        does="at once, where allowed; everybody is told, and reviews it",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subcommand:
    """A command that its first word names: what it builds from which arguments, in any order."""

    build: Callable[..., Command]
    usage: str
    does: str
    arguments: Mapping[str, Kind] = field(default_factory=dict)


SUBCOMMANDS = {
    "list": _Subcommand(build=ShowLocations, usage="list", does="the locations, and what you may ask for"),
    "mine": _Subcommand(build=ShowMine, usage="mine", does="what you have asked for and hold"),
    "token": _Subcommand(
        build=ShowToken, usage="token [R-…]", does="a fresh database token", arguments={"request_id": _REQUEST}
    ),
    "extend": _Subcommand(
        build=ExtendAccess,
        usage="extend [R-…] [30m]",
        does="a later end",
        arguments={"request_id": _REQUEST, "seconds": DURATION},
    ),
    "end": _Subcommand(
        build=EndAccess,
        usage="end [R-…|all]",
        does="ends your access now",
        arguments={"request_ids": _EVERY_ACCESS_OR_REQUEST},
    ),
    "cancel": _Subcommand(
        build=CancelRequest,
        usage="cancel [R-…]",
        does="withdraws what you asked for",
        arguments={"request_id": _REQUEST},
    ),
    "explain": _Subcommand(
        build=ExplainLevel,
        usage="explain LOCATION [r|w|o]",
        does="which rule holds, who can approve now, and what a level can do",
        arguments={"location": NAME, "level": LEVEL},
    ),
    "history": _Subcommand(build=ShowHistory, usage="history", does="what you had, and how it ended"),
    "cost": _Subcommand(build=ShowCost, usage="cost", does="what this month has cost so far"),
    "help": _Subcommand(build=ShowHelp, usage="help", does="this list"),
}


def command_help() -> tuple[tuple[str, str], ...]:
    """Every command and every option of asking, each with what it does."""
    return (
        (COMMAND, "opens the form"),
        (USAGE, "asks for access"),
        *((f"{COMMAND} {subcommand.usage}", subcommand.does) for subcommand in SUBCOMMANDS.values()),
        *((option.usage, option.does) for option in OPTIONS.values() if option.does),
    )
