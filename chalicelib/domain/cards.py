"""Where a card stands in Slack, so that it can be updated in place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReference:
    """A posted message: its channel (or direct message) and its time stamp, which Slack uses as its id."""

    channel: str
    ts: str
