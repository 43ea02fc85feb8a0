"""The forms behind a decision: why not, and what less instead. Whatever they send is judged again before it counts."""

from chalicelib import defaults
from chalicelib.domain.decisions import Terms, lesser_levels
from chalicelib.domain.durations import shorter_choices
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import View, section
from chalicelib.slack.cards.wording import asks, reason_block
from chalicelib.slack.modals.forms import (
    Values,
    duration_options,
    form,
    option,
    radios,
    read_choice,
    read_number,
    read_text,
    select,
    text_input,
)

DENY = "deny"
APPROVE_LESS = "approve_less"
_REASON, _LEVEL, _DURATION = "reason", "level", "duration"


def deny_modal(*, request: AccessRequest) -> View:
    """Why not? The requester reads it as it is written."""
    return form(
        "Deny request",
        section(f"{asks(request)}."),
        reason_block(request.reason),
        text_input(
            _REASON,
            "Why not?",
            most=defaults.ANSWER_LENGTH,
            hint="The requester and the channel read it. Say what they can do instead.",
            is_multiline=True,
        ),
        callback_id=DENY,
        submit="Deny Request",
        request_id=request.request_id,
    )


def read_deny_form(values: Values) -> str:
    """The reason; empty when there is none."""
    return read_text(values, _REASON, most=defaults.ANSWER_LENGTH)


def find_deny_errors(values: Values) -> dict[str, str]:
    """A no without a reason teaches nobody anything."""
    return {} if read_deny_form(values) else {_REASON: "Say in a few words why not."}


def approve_less_modal(*, request: AccessRequest) -> View:
    """What to approve instead: the level as asked or read, for as long as asked or shorter."""
    levels = (request.level,) if request.extends else lesser_levels(request.level)
    asked = request.duration_seconds
    return form(
        "Approve less",
        section(f"{asks(request)}."),
        reason_block(request.reason),
        radios(
            _LEVEL,
            "Level",
            [option(level.word.capitalize(), level.value, level.summary) for level in levels],
            initial=levels[0].value,
        ),
        select(
            _DURATION,
            "For how long?",
            duration_options([*shorter_choices(asked), asked]),
            initial=str(asked),
        ),
        callback_id=APPROVE_LESS,
        submit="Approve",
        request_id=request.request_id,
    )


def read_approve_less_form(values: Values, *, request: AccessRequest) -> Terms | None:
    """The approved terms; None when a choice is missing, for nothing that was not chosen is ever approved."""
    level, seconds = read_choice(values, _LEVEL), read_number(values, _DURATION)
    if level not in set(lesser_levels(request.level)) or not seconds:
        return None
    return Terms(level=PermissionLevel(level), duration_seconds=seconds)
