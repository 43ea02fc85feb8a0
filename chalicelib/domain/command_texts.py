"""From the text of ``/db-access`` to the command and back. Says nothing about who may do what or which locations exist."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from chalicelib import defaults
from chalicelib.domain.command_grammar import (
    DURATION,
    FLAG,
    LEVEL,
    NAME,
    OPTIONS,
    PLACE_OF_A_LOCATION,
    REASON,
    SUBCOMMANDS,
    UNIT_SECONDS,
    Kind,
    find_name,
)
from chalicelib.domain.command_words import (
    Word,
    escape_entities,
    find_option,
    join_words,
    plain_or_quoted_word,
    quote_word,
    split_words,
)
from chalicelib.domain.commands import COMMAND, USAGE, Command, OpenForm
from chalicelib.domain.durations import find_duration
from chalicelib.domain.errors import InvalidCommandError
from chalicelib.domain.nearest import find_nearest
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import Ask

_HELP = {"help", "h", "-h", "?"}
_LARGEST_LENGTHS = {"d": 9_999, "h": 99_999, "m": 999_999, "s": 9_999_999}
"""How many of each a length of time may say."""


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


def find_similar_command(text: str) -> str | None:
    """The command that was probably meant when the first word is no location but nearly a subcommand, such as ``lst``."""
    words = split_words(text)
    near = find_nearest(words[0].text.lower(), SUBCOMMANDS, cutoff=0.6) if words else None
    return f"{COMMAND} {command_text(_Reader().read_subcommand(near, words[1:]))}" if near else None


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
        name = (find_option(first, OPTIONS) or first.text).lower()
        if name in _HELP and not first.is_quoted:
            name = "help"
        elif first.is_quoted or first.text.lower() not in SUBCOMMANDS:
            return self.read_ask(words)
        return self.read_subcommand(name, rest)

    def read_subcommand(self, name: str, words: list[Word]) -> Command:
        """The subcommand of that name with these arguments, in any order."""
        subcommand = SUBCOMMANDS[name]
        found: dict[str, Any] = {}
        for word in words:
            if not self._take(word, subcommand.arguments, found):
                self.mistakes.append(f"'{_shown(word.raw)}' has no place in {COMMAND} {subcommand.usage}.")
                if _is_level_or_duration(word) or find_option(word, OPTIONS) in OPTIONS:
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
            called = find_option(word, OPTIONS)
            if called is None:
                yield word
                continue
            name = self._require_option(called, rest)
            if name is None:
                yield replace(word, is_quoted=True)
                continue
            option = OPTIONS[name]
            if option.kind is FLAG:
                found[option.sets] = True
                if word.raw != word.text:
                    self.mistakes.append(f"--{name} takes no value.")
            elif not rest or find_option(rest[0], OPTIONS) is not None:
                self.mistakes.append(f"--{name} needs a value: {option.usage}.")
                self._keep(found, option.sets, option.kind.guess(""))
            elif option.kind is REASON:
                reasons.append(join_words(list(_take_reason(rest))))
            else:
                self._keep(found, option.sets, self._read_value(option.kind, rest.pop(0)))

    def _require_option(self, called: str, rest: list[Word]) -> str | None:
        """The option of that name, or the one that is nearly called so and whose value follows; None when there is none."""
        if called in OPTIONS:
            return called
        self.mistakes.append(f"There is no option --{_shown(called)}.")
        if near := find_nearest(called, OPTIONS, cutoff=0.6):
            kind = OPTIONS[near].kind
            if kind is FLAG or (rest and kind.find(rest[0].text) is not None):
                return near
        self.mistakes[-1] += " Within a reason it has to stand in quotes."
        return None

    def _take_location(self, free: list[Word]) -> str:
        """The first word; or, when level or duration stand before it, the first that is neither."""
        for index, word in enumerate(free):
            if not _is_level_or_duration(word) and (name := find_name(word.text)) is not None:
                if index:
                    self.mistakes.append("The location comes first.")
                free.pop(index)
                return name
        return self._missing_location()

    def _missing_location(self) -> str:
        self.mistakes.append("Which location?")
        return PLACE_OF_A_LOCATION

    def _take_level_and_duration(self, free: list[Word], found: dict[str, Any]) -> None:
        """Level and duration, each at most once and in either order; from there on the words are the reason."""
        kinds = {"level": LEVEL, "duration_seconds": DURATION}
        while free:
            taken: dict[str, Any] = {}
            if "level" in kinds and _is_misspelt_level(free):
                taken["level"] = self._read_value(LEVEL, free[0])
            elif not self._take(free[0], kinds, taken):
                return
            for name, value in taken.items():
                del kinds[name]
                self._keep(found, name, value)
            free.pop(0)

    def _take(self, word: Word, arguments: Mapping[str, Kind], found: dict[str, Any]) -> bool:
        """Let the word be an argument not yet found that it can be, a name last, or else that it is a failed try of."""
        missing = {name: kind for name, kind in arguments.items() if name not in found}
        for name, kind in sorted(missing.items(), key=lambda item: item[1] is NAME):
            if (kind is NAME or not word.is_quoted) and kind.find(word.text) is not None:
                found[name] = kind.find(word.text)
                return True
        for name, kind in missing.items():
            if kind.looks_like is not None and not word.is_quoted and kind.looks_like.fullmatch(word.text):
                found[name] = self._read_value(kind, word)
                return True
        return False

    def _read_value(self, kind: Kind, word: Word) -> Any:
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
    while rest and not first.is_quoted and find_option(rest[0], OPTIONS) is None:
        yield rest.pop(0)


def _is_level_or_duration(word: Word) -> bool:
    return not word.is_quoted and (LEVEL.find(word.text) is not None or DURATION.find(word.text) is not None)


def _is_misspelt_level(words: list[Word]) -> bool:
    """Is the first word nearly a level, where a duration follows? Elsewhere it could as well begin the reason."""
    return (
        len(words) > 1
        and find_duration(words[1].text) is not None
        and not words[0].is_quoted
        and LEVEL.find(words[0].text) is None
        and LEVEL.guess(words[0].text) is not None
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
        name, subcommand = next(item for item in SUBCOMMANDS.items() if item[1].build is type(command))
        for write_name in (plain_or_quoted_word, quote_word):
            write: dict[Kind, Callable[[Any], str]] = {NAME: write_name, DURATION: _duration_text}
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
        count = min(left // UNIT_SECONDS[unit], largest)
        left -= count * UNIT_SECONDS[unit]
        text += f"{count}{unit}" if count else ""
    return text
