"""The form in which a holder asks for more time. What they choose is judged again before it counts."""

from chalicelib.domain.durations import describe_duration, duration_choices
from chalicelib.domain.extensions import seconds_to_extend
from chalicelib.domain.grants import Grant
from chalicelib.slack.blocks import View, bold, context, modal, section, time_of
from chalicelib.slack.modals.forms import (
    Values,
    duration_options,
    form,
    read_number,
    select,
)

CALLBACK = "extend"
_TITLE = "Extend access"
_DURATION = "duration"
_USUAL = 1800


def extend_modal(*, grant: Grant, cap_seconds: int) -> View:
    """How much longer, within what the cap of the level leaves."""
    facts = grant.facts
    left = seconds_to_extend(grant, cap_seconds=cap_seconds)
    cap = f"{describe_duration(cap_seconds)} is the most there is in all."
    held = f"You hold {facts.level.word} access to {bold(facts.location)} until {time_of(grant.ends_at)}."
    if left == 0:
        sorry = section(f"{held} {cap} Ask again when it has ended.")
        return modal(_TITLE, sorry, context(facts.request_id), callback_id=CALLBACK, request_id=facts.request_id)
    choices = duration_choices(left, also=left)
    return form(
        _TITLE,
        section(held),
        select(
            _DURATION,
            "How much longer?",
            duration_options(choices),
            initial=str(_USUAL if _USUAL in choices else choices[-1]),
            hint=f"{cap} Where the level needs approval, so does more time.",
        ),
        callback_id=CALLBACK,
        submit="Extend",
        request_id=facts.request_id,
    )


def read_extend_form(values: Values) -> int | None:
    """The seconds; None when nothing was chosen."""
    return read_number(values, _DURATION) or None


def place_extend_problem(reason: str) -> dict[str, str]:
    """Why it cannot be so much longer, under the only field."""
    return {_DURATION: reason}
