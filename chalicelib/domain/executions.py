"""Executions of the workflow: where one stands, and what answers a state of it that waits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from chalicelib.domain.payloads import read_field, to_payload


class Progress(StrEnum):
    """The engine forgets an ended one after 90 days (Step Functions: Quotas)."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskToken:
    """What answers one attempt of a state that waits."""

    text: str = field(repr=False)
    entered_at: datetime
    """When the state was entered; its retries share it."""
    retries: int

    @property
    def turn(self) -> str:
        """Of the attempts that wait for one thing, the one with the greatest turn waits now. Compares as text."""
        return f"{to_payload(self.entered_at)}#{self.retries:03}"


def read_task_token(event: Mapping[str, Any], *, now: datetime) -> TaskToken:
    """Read ``{task_token, entered_at, retries}`` (Step Functions: Context object). Raises PayloadError.

    Executions that began with the release before pass ``task_token`` alone: they count as entered now.
    """
    text = read_field(str, event, "task_token")
    if "entered_at" not in event:
        return TaskToken(text=text, entered_at=now, retries=0)
    return TaskToken(
        text=text, entered_at=read_field(datetime, event, "entered_at"), retries=read_field(int, event, "retries")
    )
