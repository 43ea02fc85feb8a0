"""The answer to `help`: how to ask, with examples that can be typed."""

from collections.abc import Iterable

from chalicelib import defaults
from chalicelib.domain.command_grammar import command_help
from chalicelib.domain.commands import USAGE
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.slack.blocks import Message, code, context, escape, paragraphs, preformatted, section, some_of


def help_reply(*, locations: Iterable[str]) -> Message:
    """Every command, the levels, and examples for the first of the locations."""
    names = sorted(locations)
    example = names[0] if names else "LOCATION"
    return Message(
        text=f"Ask for access with {escape(USAGE)}",
        blocks=[
            section("*Ask for database access*"),
            *paragraphs(f"{code(usage)} {escape(does)}" for usage, does in command_help()),
            section("*The levels*"),
            *(section(f"{code(level)} *{level.word}*: {escape(level.summary)}") for level in PermissionLevel),
            section(
                f"Without a level it is {code(defaults.LEVEL)}, without a duration"
                f" {describe_duration(defaults.DURATIONS.access)}."
            ),
            preformatted(f"/db-access {example} r", label="Read"),
            preformatted(
                f"/db-access {example} w 30m fix the stuck orders", label="Write for half an hour, with a reason"
            ),
            context(f"Locations: {some_of(map(code, names)) or 'none'}"),
        ],
    )
