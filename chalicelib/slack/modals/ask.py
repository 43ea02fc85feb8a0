"""The form in which a person asks for access, what is read from it, and which field a problem belongs to."""

from collections.abc import Sequence

from chalicelib import defaults
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.durations import duration_choices
from chalicelib.domain.errors import AccessError, UnknownLocationError
from chalicelib.domain.locations import Location
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import LOCAL_PORTS, PROFILE, Ask
from chalicelib.slack.blocks import Block, View, actions, modal, section, shorten
from chalicelib.slack.cards.buttons import forget_profile_button
from chalicelib.slack.modals.forms import (
    Values,
    checkbox,
    duration_options,
    form,
    is_ticked,
    number_in,
    option,
    radios,
    read_choice,
    read_number,
    read_text,
    select,
    text_input,
)

CALLBACK = "ask"
_TITLE = "Ask for access"
_LOCATION, _LEVEL, _DURATION, _REASON = "location", "level", "duration", "reason"
_PORT, _PROFILE, _BREAK_GLASS = "port", "profile", "break_glass"
_MOST_OPTIONS = 100
_PROFILE_LENGTH = 128
_ERROR_LENGTH = 500


def ask_modal(*, locations: Sequence[Location], prefilled: Ask, may_break_glass: bool) -> View:
    """The form, with everything in it that ``prefilled`` says: what was asked before, or the last port and profile.

    ``locations`` are those that the person may ask for. Slack takes 100 choices: with more of them the name is typed.
    """
    if not locations:
        sorry = section("There is no location that you may ask for. Ask the people who keep Drawbridge's catalogue.")
        return modal(_TITLE, sorry, callback_id=CALLBACK, request_id="")
    cap_seconds = max(rule.cap_seconds for location in locations for rule in location.levels.values())
    wanted = prefilled.duration_seconds or min(defaults.DURATIONS.access, cap_seconds)
    remembered = prefilled.port is not None or bool(prefilled.profile)
    return form(
        _TITLE,
        _location_input(locations, prefilled.location),
        radios(_LEVEL, "Level", [_level_option(level) for level in PermissionLevel], initial=prefilled.level.value),
        select(
            _DURATION,
            "For how long?",
            duration_options(duration_choices(cap_seconds, also=wanted)),
            initial=str(wanted),
            hint="Its time starts when the connection is ready. You can end it earlier, or ask for more.",
        ),
        text_input(
            _REASON,
            "Reason",
            most=defaults.REASON_LENGTH,
            hint="Approvers see it as you write it: what is wrong, and what you are going to do.",
            initial=prefilled.reason,
            is_optional=True,
            is_multiline=True,
        ),
        text_input(
            _PORT,
            "Local port",
            most=5,
            hint="Leave it empty for the location's own.",
            initial=str(prefilled.port or ""),
            is_optional=True,
        ),
        text_input(
            _PROFILE,
            "AWS profile",
            most=_PROFILE_LENGTH,
            hint="Goes into the line that opens the tunnel. Leave it empty for none.",
            initial=prefilled.profile or "",
            is_optional=True,
        ),
        *_break_glass_input(prefilled, may_break_glass=may_break_glass),
        *([actions(forget_profile_button(), block_id="remembered")] if remembered else []),
        callback_id=CALLBACK,
        submit="Send Request",
    )


def read_ask_form(values: Values) -> Ask:
    """What was asked. A profile that was emptied is one that was taken away; `find_ask_errors` says what cannot be read."""
    port = number_in(read_text(values, _PORT, most=5))
    level = read_choice(values, _LEVEL)
    return Ask(
        location=_read_location(values),
        level=PermissionLevel(level if level in set(PermissionLevel) else defaults.LEVEL),
        duration_seconds=read_number(values, _DURATION) or None,
        reason=read_text(values, _REASON, most=defaults.REASON_LENGTH),
        port=port if port and port in LOCAL_PORTS else 0,  # a range is searched whole for what is no number
        profile=_read_profile(values) if PROFILE.fullmatch(_read_profile(values)) else "",
        is_break_glass=is_ticked(values, _BREAK_GLASS),
    )


def find_ask_errors(values: Values) -> dict[str, str]:
    """What nobody has to look up to see that it is wrong: ``{block id: how to repair it}``, as Slack shows it."""
    errors = {}
    port, profile = read_text(values, _PORT, most=6), _read_profile(values)
    if not _read_location(values):
        errors[_LOCATION] = "Choose the location that you want to reach."
    if port and number_in(port) not in LOCAL_PORTS:
        errors[_PORT] = f"A port is a number from {LOCAL_PORTS[0]} to {LOCAL_PORTS[-1]}, such as {defaults.LOCAL_PORT}."
    if profile and not PROFILE.fullmatch(profile):
        errors[_PROFILE] = "A profile is made of letters, digits and . _ : / @ - alone."
    if is_ticked(values, _BREAK_GLASS) and not read_text(values, _REASON, most=1):
        errors[_REASON] = "Breaking the glass needs a reason: say in a few words what is on fire."
    return errors


def place_ask_problem(problem: Refusal | AccessError, *, ask: Ask, location: Location | None) -> dict[str, str]:
    """The problem with what was asked, under the field that people have to change. ``location`` is None when unknown."""
    said = shorten(problem.reason if isinstance(problem, Refusal) else str(problem), _ERROR_LENGTH)
    return {_find_field(problem, ask, location): said}


def _find_field(problem: Refusal | AccessError, ask: Ask, location: Location | None) -> str:
    if location is None or isinstance(problem, UnknownLocationError):
        return _LOCATION
    rule = location.levels.get(ask.level)
    if rule is not None and (ask.duration_seconds or 0) > rule.cap_seconds:
        return _DURATION
    # The form shows this field to few: an error under a field that is not there would be shown nowhere.
    if ask.is_break_glass and rule is not None and isinstance(problem, Refusal):
        return _BREAK_GLASS
    return _LEVEL if isinstance(problem, Refusal) else _LOCATION


def _location_input(locations: Sequence[Location], chosen: str) -> Block:
    in_order = sorted(locations, key=lambda location: location.name)
    if len(in_order) > _MOST_OPTIONS:
        hint = f"Type its name, one of {len(in_order)}: /db-access list shows them."
        return text_input(_LOCATION, "Location", most=63, hint=hint, initial=chosen)
    options = [option(each.name, each.name, f"{each.environment} · {each.region}") for each in in_order]
    return select(_LOCATION, "Location", options, initial=chosen)


def _level_option(level: PermissionLevel) -> Block:
    return option(level.word.capitalize(), level.value, level.summary)


def _break_glass_input(prefilled: Ask, *, may_break_glass: bool) -> list[Block]:
    if not may_break_glass:
        return []
    return [
        checkbox(
            _BREAK_GLASS,
            "In an emergency",
            "Break the glass: take it at once",
            "Every approver is told now, and one of them reviews it afterwards.",
            is_ticked=prefilled.is_break_glass,
        )
    ]


def _read_location(values: Values) -> str:
    return read_choice(values, _LOCATION)[:63] or read_text(values, _LOCATION, most=63)


def _read_profile(values: Values) -> str:
    return read_text(values, _PROFILE, most=_PROFILE_LENGTH)
