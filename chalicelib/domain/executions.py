"""Where an execution of the workflow stands."""

from enum import StrEnum


class Progress(StrEnum):
    """The engine forgets an ended one after 90 days (Step Functions: Quotas)."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    OVER = "over"
