"""What a form came to, in the window in which it was sent: there is no other place that only this person sees."""

from chalicelib.slack.blocks import Message, View, modal
from chalicelib.slack.replies.answers import refused_reply


def said_modal(*, message: Message | None = None, reason: str = "") -> View:
    """An answer, or the reason why nothing was done."""
    blocks = (message or refused_reply(reason=reason))["blocks"]
    return modal("Drawbridge", *blocks, callback_id="said", request_id="")
