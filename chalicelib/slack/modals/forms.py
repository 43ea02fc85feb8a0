"""What a form is made of, and how what was entered is read. Whatever Slack sends is taken as if a stranger had typed it.

``values`` is a submitted view's ``state.values``: ``{block id: {action id: {…}}}``. Each input's action id is its block id.
Nothing here raises: what is missing, of another kind or too long reads as absent, or is cut.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from chalicelib.domain.durations import describe_duration
from chalicelib.slack.blocks import Block, View, modal, plain_text, shorten

Values = Any
"""What Slack sent, of whatever shape."""

_OPTION_LENGTH = 75
_NUMBER_LENGTH = 9


def form(title: str, *blocks: Block, callback_id: str, submit: str, request_id: str = "") -> View:
    """A view with something to submit."""
    made = modal(title, *blocks, callback_id=callback_id, request_id=request_id, close="Cancel")
    return {**made, "submit": plain_text(submit)}


def option(text: str, value: str, description: str = "") -> Block:
    """One choice; both texts are cut to fit."""
    made: Block = {"text": plain_text(shorten(text, _OPTION_LENGTH)), "value": value}
    return {**made, "description": plain_text(shorten(description, _OPTION_LENGTH))} if description else made


def text_input(
    block_id: str,
    label: str,
    *,
    most: int,
    hint: str = "",
    initial: str = "",
    is_optional: bool = False,
    is_multiline: bool = False,
) -> Block:
    """A field for text."""
    element: Block = {"type": "plain_text_input", "action_id": block_id, "max_length": most, "multiline": is_multiline}
    if initial:
        element["initial_value"] = initial[:most]
    return _input(block_id, label, element, hint=hint, is_optional=is_optional)


def select(block_id: str, label: str, options: Sequence[Block], *, initial: str | None = None, hint: str = "") -> Block:
    """A list to choose one of at most 100 from."""
    element = {"type": "static_select", "action_id": block_id, "options": list(options)}
    return _input(block_id, label, _chosen(element, options, initial), hint=hint)


def radios(block_id: str, label: str, options: Sequence[Block], *, initial: str | None = None) -> Block:
    """At most ten choices, all of them in sight."""
    element = {"type": "radio_buttons", "action_id": block_id, "options": list(options)}
    return _input(block_id, label, _chosen(element, options, initial))


def checkbox(block_id: str, label: str, text: str, description: str, *, is_ticked: bool = False) -> Block:
    """Something to say yes to, which nobody must."""
    tick = option(text, "yes", description)
    element: Block = {"type": "checkboxes", "action_id": block_id, "options": [tick]}
    if is_ticked:
        element["initial_options"] = [tick]
    return _input(block_id, label, element, is_optional=True)


def duration_options(seconds: Iterable[int]) -> list[Block]:
    """Durations to choose from."""
    return [option(describe_duration(each), str(each)) for each in seconds]


def read_text(values: Values, block_id: str, *, most: int) -> str:
    """What was typed, without the space around it."""
    typed = _answer(values, block_id).get("value")
    return typed.strip()[:most].rstrip() if isinstance(typed, str) else ""


def read_choice(values: Values, block_id: str) -> str:
    """The value that was chosen."""
    return _value_of(_answer(values, block_id).get("selected_option"))


def read_number(values: Values, block_id: str) -> int | None:
    """The number that was chosen."""
    return number_in(read_choice(values, block_id))


def is_ticked(values: Values, block_id: str) -> bool:
    """Was the box ticked?"""
    ticked = _answer(values, block_id).get("selected_options")
    return isinstance(ticked, list) and any(_value_of(each) == "yes" for each in ticked)


def number_in(text: str) -> int | None:
    """A whole number of at most nine digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _NUMBER_LENGTH else None


def _input(block_id: str, label: str, element: Block, *, hint: str = "", is_optional: bool = False) -> Block:
    made: Block = {
        "type": "input",
        "block_id": block_id,
        "label": plain_text(label),
        "element": element,
        "optional": is_optional,
    }
    return {**made, "hint": plain_text(hint)} if hint else made


def _chosen(element: Block, options: Iterable[Block], initial: str | None) -> Block:
    found = next((each for each in options if each["value"] == initial), None)
    return element if found is None else {**element, "initial_option": found}


def _answer(values: Values, block_id: str) -> dict[str, Any]:
    block = values.get(block_id) if isinstance(values, dict) else None
    answer = block.get(block_id) if isinstance(block, dict) else None
    return answer if isinstance(answer, dict) else {}


def _value_of(chosen: Any) -> str:
    value = chosen.get("value") if isinstance(chosen, dict) else None
    return value if isinstance(value, str) else ""
