"""The form in which a reviewer says why breaking the glass was not justified."""

from chalicelib import defaults
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import View, section
from chalicelib.slack.cards.review import took
from chalicelib.slack.cards.wording import reason_block
from chalicelib.slack.modals.forms import Values, form, read_text, text_input

CALLBACK = "not_justified"
_NOTE = "note"


def not_justified_modal(*, request: AccessRequest) -> View:
    """What should have been done instead?"""
    return form(
        "Not justified",
        section(took(request)),
        reason_block(request.reason),
        text_input(
            _NOTE,
            "Why was it not justified?",
            most=defaults.ANSWER_LENGTH,
            hint="It stands on the review card, for the person and for every approver.",
            is_multiline=True,
        ),
        callback_id=CALLBACK,
        submit="Close Review",
        request_id=request.request_id,
    )


def read_not_justified_form(values: Values) -> str:
    """The note; empty when there is none."""
    return read_text(values, _NOTE, most=defaults.ANSWER_LENGTH)


def find_not_justified_errors(values: Values) -> dict[str, str]:
    """A judgement without a note helps nobody next time."""
    return {} if read_not_justified_form(values) else {_NOTE: "Say in a few words why it was not justified."}
