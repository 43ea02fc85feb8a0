"""The grammar of ``/db-access``: text to command and back. Says nothing about who may do what or which locations exist."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeAlias

from chalicelib import defaults
from chalicelib.domain.command_words import (
    Word,
    escape_entities,
    find_option,
    join_words,
    plain_or_quoted_word,
    quote_word,
    split_words,
    with_plain_dashes,
)
from chalicelib.domain.durations import find_duration
from chalicelib.domain.errors import InvalidCommandError
from chalicelib.domain.nearest import find_nearest
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE, REQUEST_ID, Ask

COMMAND = "/db-access"
USAGE = f"{COMMAND} LOCATION [r|w|o] [30m|2h|1h30m] [reason…]"
EVERY_ACCESS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenForm:
    """Nothing was typed: ask by form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowLocations:
    """Which locations there are, and what the person may ask for there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowMine:
    """What the person has asked for and holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowHelp:
    """How commands are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowHistory:
    """What the person had, and how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCost:
    """What the month has cost so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowToken:
    """A fresh token; without an id for the only access there is."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendAccess:
    """A later end; without an id for the only access there is, without a length by the usual one."""

    request_id: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAccess:
    """An end now: of one access, of the only one there is, or of ``EVERY_ACCESS``."""

    request_ids: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """A request withdrawn; without an id the only one that waits."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainLevel:
    """Which rule holds for a level of a location; without a level for each."""

    location: str
    level: PermissionLevel | None = None


Command: TypeAlias = (
    OpenForm
    | ShowLocations
    | ShowMine
    | ShowHelp
    | ShowHistory
    | ShowCost
    | ShowToken
    | ExtendAccess
    | EndAccess
    | CancelRequest
    | ExplainLevel
    | Ask
)


def parse_command(text: str) -> Command:
    """Read what was typed after ``/db-access``. Names of locations, environments and regions come out in small letters.

    Raises InvalidCommandError, and nothing else whatever the text: what is wrong, and the whole command as it should be.
    """
    if len(text) > defaults.COMMAND_LENGTH:
        raise InvalidCommandError(
            f"That is {len(text)} characters long; {defaults.COMMAND_LENGTH} is the most. Type {USAGE}"
        )
    reader = _Reader()
    command = reader.read(split_words(text))
    if reader.mistakes:
        raise InvalidCommandError(" ".join([reader.mistakes[0], *_instructions(command, reader.other)]))
    return command


def command_text(command: Command) -> str:
    """What to type after ``/db-access`` for this command, as plainly as possible; ``parse_command`` reads it back."""
    *plainer, plainest = map(escape_entities, _spellings(command))
    for text in plainer:
        reader = _Reader()
        if reader.read(split_words(text)) == command and not reader.mistakes:
            return text
    return plainest


def command_help() -> tuple[tuple[str, str], ...]:
    """Every command and every option of asking, each with what it does."""
    return (
        (COMMAND, "opens the form"),
        (USAGE, "asks for access"),
        *((f"{COMMAND} {subcommand.usage}", subcommand.does) for subcommand in _SUBCOMMANDS.values()),
        *((option.usage, option.does) for option in _OPTIONS.values() if option.does),
    )


def find_similar_command(text: str) -> str | None:
    """The command that was probably meant when the first word is no location but nearly a subcommand, such as ``lst``."""
    words = split_words(text)
    near = find_nearest(words[0].text.lower(), _SUBCOMMANDS, cutoff=0.6) if words else None
    return f"{COMMAND} {command_text(_Reader().read_subcommand(near, words[1:]))}" if near else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of value: how it is read, what is said of a failed try, and what was probably meant by it."""

    find: Callable[[str], Any]
    rule: str
    guess: Callable[[str], Any]
    looks_like: re.Pattern[str] | None = None
    """What is taken for a failed try where a word could also be something else."""


_NUMBER_AND_UNIT = re.compile(r"[+-]?(\d+(?:[.,]\d+)?)\s*([a-z]*)", re.IGNORECASE)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_PLACE_OF_A_LOCATION = "LOCATION"
_LARGEST_LENGTHS = {"d": 9_999, "h": 99_999, "m": 999_999, "s": 9_999_999}
"""How many of each a length of time may say."""


def _find_request_id(text: str) -> str | None:
    upper = with_plain_dashes(text).upper()
    return upper if REQUEST_ID.fullmatch(upper) else None


def _find_name(text: str) -> str | None:
    """Catalogues know small letters alone, and phones begin with a capital one; the word of our own help stays as it is."""
    return (text if text == _PLACE_OF_A_LOCATION else text.lower()) or None


def _find_port(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{4,5}", text) and int(text) in LOCAL_PORTS else None


def _guess_duration(text: str) -> int:
    """The nearest length of time that anybody can get; a number alone is hours when it is small, else minutes."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        return defaults.DURATIONS.access
    count = min(float(match[1].replace(",", ".")), float(defaults.DURATIONS.cap))
    unit = match[2][:1].lower() or ("h" if count * 3600 <= defaults.DURATIONS.cap else "m")
    seconds = round(count * _UNIT_SECONDS.get(unit, 3600) / 60) * 60
    return min(seconds, defaults.DURATIONS.cap) or defaults.DURATIONS.access


def _guess_level(text: str) -> PermissionLevel | None:
    near = find_nearest(text.lower(), [level.word for level in PermissionLevel], cutoff=0.7)
    return PermissionLevel.find_by_word(near) if near else None


_LEVEL = _Kind(
    find=PermissionLevel.find_by_word,
    rule="is no level. There are r (read), w (write) and o (operate).",
    guess=_guess_level,
)
_DURATION = _Kind(
    find=find_duration,
    rule="is no duration. Write it like 30m, 2h or 1h30m.",
    guess=_guess_duration,
    looks_like=re.compile(r"[+-]?\d+(?:[.,]\d+)?[a-z]*", re.IGNORECASE),
)
_REQUEST = _Kind(
    find=_find_request_id,
    rule=f"is no request id. One is R- and six characters; {COMMAND} mine shows yours.",
    guess=lambda _: None,
    looks_like=re.compile(r"r\W.*", re.IGNORECASE | re.DOTALL),
)
_EVERY_ACCESS_OR_REQUEST = _Kind(
    find=lambda text: EVERY_ACCESS if text.lower() == EVERY_ACCESS else _find_request_id(text),
    rule=_REQUEST.rule,
    guess=_REQUEST.guess,
    looks_like=_REQUEST.looks_like,
)
_NAME = _Kind(find=_find_name, rule="is no name.", guess=lambda _: None)
_PORT = _Kind(
    find=_find_port,
    rule="is no local port. It is a number from 1024 to 65535.",
    guess=lambda _: defaults.LOCAL_PORT,
)
_PROFILE = _Kind(
    find=lambda text: text if PROFILE.fullmatch(text) else None,
    rule="is no AWS profile that can stand in a command: letters, digits and . _ : / @ - can, without - or @ at the beginning.",
    guess=lambda _: None,
)
_REASON = _Kind(find=lambda text: text or None, rule="is no reason.", guess=lambda _: None)
_FLAG = _Kind(find=bool, rule="", guess=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """An option of asking: the field of Ask that it sets, and its line of help; without one for an older name of another."""

    sets: str
    kind: _Kind
    usage: str
    does: str = ""


_OPTIONS = {
    "for": _Option(
        sets="duration_seconds", kind=_DURATION, usage="--for 2h", does="how long, from the moment it is ready"
    ),
    "reason": _Option(sets="reason", kind=_REASON, usage='--reason "…"', does="why, to those who decide"),
    "permission": _Option(
        sets="level", kind=_LEVEL, usage="--permission r|w|o", does="the level: read, write or operate"
    ),
    "location": _Option(
        sets="location", kind=_NAME, usage="--location NAME", does="for a location that is called like a command"
    ),
    "env": _Option(
        sets="environment", kind=_NAME, usage="--env ENVIRONMENT", does="refuses when the location is another's"
    ),
    "region": _Option(
        sets="region", kind=_NAME, usage="--region REGION", does="refuses when the location lies elsewhere"
    ),
    "port": _Option(sets="port", kind=_PORT, usage="--port 56789", does="the port on your machine; remembered"),
    "localport": _Option(sets="port", kind=_PORT, usage="--localport 56789"),
    "profile": _Option(sets="profile", kind=_PROFILE, usage="--profile NAME", does="your AWS profile; remembered"),
    "awsprofile": _Option(sets="profile", kind=_PROFILE, usage="--awsprofile NAME"),
    "break-glass": _Option(
        sets="is_break_glass",
        kind=_FLAG,
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
    arguments: Mapping[str, _Kind] = field(default_factory=dict)


_SUBCOMMANDS = {
    "list": _Subcommand(build=ShowLocations, usage="list", does="the locations, and what you may ask for"),
    "mine": _Subcommand(build=ShowMine, usage="mine", does="what you have asked for and hold"),
    "token": _Subcommand(
        build=ShowToken, usage="token [R-…]", does="a fresh database token", arguments={"request_id": _REQUEST}
    ),
    "extend": _Subcommand(
        build=ExtendAccess,
        usage="extend [R-…] [30m]",
        does="a later end",
        arguments={"request_id": _REQUEST, "seconds": _DURATION},
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
        arguments={"location": _NAME, "level": _LEVEL},
    ),
    "history": _Subcommand(build=ShowHistory, usage="history", does="what you had, and how it ended"),
    "cost": _Subcommand(build=ShowCost, usage="cost", does="what this month has cost so far"),
    "help": _Subcommand(build=ShowHelp, usage="help", does="this list"),
}
_HELP = {"help", "h", "-h", "?"}


class _Reader:
    """Reads words into a command. A mistake is noted and reading goes on with what was probably meant, so that the result is
    the corrected command.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.other: Ask | None = None
        """What else may have been meant: asking for a location that is called like a command."""

    def read(self, words: list[Word]) -> Command:
        """Whatever the words ask for."""
        if not words:
            return OpenForm()
        first, *rest = words
        name = (find_option(first, _OPTIONS) or first.text).lower()
        if name in _HELP and not first.is_quoted:
            name = "help"
        elif first.is_quoted or first.text.lower() not in _SUBCOMMANDS:
            return self.read_ask(words)
        return self.read_subcommand(name, rest)

    def read_subcommand(self, name: str, words: list[Word]) -> Command:
        """The subcommand of that name with these arguments, in any order."""
        subcommand = _SUBCOMMANDS[name]
        found: dict[str, Any] = {}
        for word in words:
            if not self._take(word, subcommand.arguments, found):
                self.mistakes.append(f"'{_shown(word.raw)}' has no place in {COMMAND} {subcommand.usage}.")
                if _is_level_or_duration(word) or find_option(word, _OPTIONS) in _OPTIONS:
                    self.other = _Reader().read_ask([Word(text=name, raw=name, is_quoted=True), *words])
        if "location" in subcommand.arguments and "location" not in found:
            found["location"] = self._missing_location()
        return subcommand.build(**found)

    def read_ask(self, words: list[Word]) -> Ask:
        """The ask that the words make."""
        found: dict[str, Any] = {}
        reasons: list[str] = []
        free = list(self._take_options(words, found, reasons))
        if "location" not in found:
            found["location"] = self._take_location(free)
        self._take_level_and_duration(free, found)
        return Ask(
            location=found.pop("location"),
            level=found.pop("level", PermissionLevel(defaults.LEVEL)),
            duration_seconds=found.pop("duration_seconds", None),
            reason=" ".join(filter(None, [join_words(free), *reasons]))[: defaults.REASON_LENGTH].rstrip(),
            **found,
        )

    def _take_options(self, words: list[Word], found: dict[str, Any], reasons: list[str]) -> Iterator[Word]:
        """Take the options and their values out of the words; what is left is yielded in its order."""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            called = find_option(word, _OPTIONS)
            if called is None:
                yield word
                continue
            name = self._require_option(called, rest)
            if name is None:
                yield replace(word, is_quoted=True)
                continue
            option = _OPTIONS[name]
            if option.kind is _FLAG:
                found[option.sets] = True
                if word.raw != word.text:
                    self.mistakes.append(f"--{name} takes no value.")
            elif not rest or find_option(rest[0], _OPTIONS) is not None:
                self.mistakes.append(f"--{name} needs a value: {option.usage}.")
                self._keep(found, option.sets, option.kind.guess(""))
            elif option.kind is _REASON:
                reasons.append(join_words(list(_take_reason(rest))))
            else:
                self._keep(found, option.sets, self._read_value(option.kind, rest.pop(0)))

    def _require_option(self, called: str, rest: list[Word]) -> str | None:
        """The option of that name, or the one that is nearly called so and whose value follows; None when there is none."""
        if called in _OPTIONS:
            return called
        self.mistakes.append(f"There is no option --{_shown(called)}.")
        if near := find_nearest(called, _OPTIONS, cutoff=0.6):
            kind = _OPTIONS[near].kind
            if kind is _FLAG or (rest and kind.find(rest[0].text) is not None):
                return near
        self.mistakes[-1] += " Within a reason it has to stand in quotes."
        return None

    def _take_location(self, free: list[Word]) -> str:
        """The first word; or, when level or duration stand before it, the first that is neither."""
        for index, word in enumerate(free):
            if not _is_level_or_duration(word) and (name := _find_name(word.text)) is not None:
                if index:
                    self.mistakes.append("The location comes first.")
                free.pop(index)
                return name
        return self._missing_location()

    def _missing_location(self) -> str:
        self.mistakes.append("Which location?")
        return _PLACE_OF_A_LOCATION

    def _take_level_and_duration(self, free: list[Word], found: dict[str, Any]) -> None:
        """Level and duration, each at most once and in either order; from there on the words are the reason."""
        kinds = {"level": _LEVEL, "duration_seconds": _DURATION}
        while free:
            taken: dict[str, Any] = {}
            if "level" in kinds and _is_misspelt_level(free):
                taken["level"] = self._read_value(_LEVEL, free[0])
            elif not self._take(free[0], kinds, taken):
                return
            for name, value in taken.items():
                del kinds[name]
                self._keep(found, name, value)
            free.pop(0)

    def _take(self, word: Word, arguments: Mapping[str, _Kind], found: dict[str, Any]) -> bool:
        """Let the word be an argument not yet found that it can be, a name last, or else that it is a failed try of."""
        missing = {name: kind for name, kind in arguments.items() if name not in found}
        for name, kind in sorted(missing.items(), key=lambda item: item[1] is _NAME):
            if (kind is _NAME or not word.is_quoted) and kind.find(word.text) is not None:
                found[name] = kind.find(word.text)
                return True
        for name, kind in missing.items():
            if kind.looks_like is not None and not word.is_quoted and kind.looks_like.fullmatch(word.text):
                found[name] = self._read_value(kind, word)
                return True
        return False

    def _read_value(self, kind: _Kind, word: Word) -> Any:
        value = kind.find(word.text)
        if value is None:
            self.mistakes.append(f"'{_shown(word.text)}' {kind.rule}")
            return kind.guess(word.text)
        return value

    def _keep(self, found: dict[str, Any], name: str, value: Any) -> None:
        """What was said first holds; what could not even be guessed is left out."""
        if value is None:
            return
        if found.setdefault(name, value) != value:
            self.mistakes.append(f"The {name.removesuffix('_seconds')} is said twice.")


def _instructions(meant: Command, other: Ask | None) -> Iterator[str]:
    yield f"Type {COMMAND} {command_text(meant)}"
    if other is not None:
        yield f"or, for a location called '{_shown(other.location)}', {COMMAND} {command_text(other)}"


def _take_reason(rest: list[Word]) -> Iterator[Word]:
    """A reason in quotes ends with them; one without goes on to the next option."""
    yield (first := rest.pop(0))
    while rest and not first.is_quoted and find_option(rest[0], _OPTIONS) is None:
        yield rest.pop(0)


def _is_level_or_duration(word: Word) -> bool:
    return not word.is_quoted and (_LEVEL.find(word.text) is not None or _DURATION.find(word.text) is not None)


def _is_misspelt_level(words: list[Word]) -> bool:
    """Is the first word nearly a level, where a duration follows? Elsewhere it could as well begin the reason."""
    return (
        len(words) > 1
        and find_duration(words[1].text) is not None
        and not words[0].is_quoted
        and _LEVEL.find(words[0].text) is None
        and _guess_level(words[0].text) is not None
    )


def _shown(text: str) -> str:
    return text[:40]


def _spellings(command: Command) -> Iterator[str]:
    """Ways to write a command, the plainest first; the last one is always read back as it was meant."""
    if isinstance(command, Ask):
        yield from _spellings_of_ask(command)
    elif isinstance(command, OpenForm):
        yield ""
    else:
        name, subcommand = next(item for item in _SUBCOMMANDS.items() if item[1].build is type(command))
        for write_name in (plain_or_quoted_word, quote_word):
            write: dict[_Kind, Callable[[Any], str]] = {_NAME: write_name, _DURATION: _duration_text}
            yield " ".join(
                [
                    name,
                    *(
                        write.get(kind, str)(value)
                        for field_name, kind in subcommand.arguments.items()
                        if (value := getattr(command, field_name)) is not None
                    ),
                ]
            )


def _spellings_of_ask(ask: Ask) -> Iterator[str]:
    level = str(ask.level)
    duration = "" if ask.duration_seconds is None else _duration_text(ask.duration_seconds)
    reason = f"--reason {quote_word(ask.reason)}" if ask.reason else ""
    flag = "--break-glass" if ask.is_break_glass else ""
    values = {"env": ask.environment, "region": ask.region, "port": ask.port, "profile": ask.profile}
    options = [
        *(f"--{name} {plain_or_quoted_word(str(value))}" for name, value in values.items() if value is not None),
        flag,
    ]
    location = plain_or_quoted_word(ask.location)
    for where, why, which in product([location, f"--location {location}"], [ask.reason, reason], ["", level]):
        yield " ".join(filter(None, [where, which, duration, *options, why]))


def _duration_text(seconds: int) -> str:
    """Seconds as ``find_duration`` reads them."""
    text, left = "", seconds
    for unit, largest in _LARGEST_LENGTHS.items():
        count = min(left // _UNIT_SECONDS[unit], largest)
        left -= count * _UNIT_SECONDS[unit]
        text += f"{count}{unit}" if count else ""
    return text
