"""The numbers that hold unless a setting says otherwise. Durations are seconds; the README's table states the same."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long things take or may take, in seconds."""

    access: int = 3600
    cap: int = 8 * 3600
    approval_wait: int = 3600
    warning: int = 10 * 60
    """How long before its end a holder is told of it; a fifth of a short grant."""
    preparation: int = 15 * 60
    """From confirmation to the latest moment at which provisioning may still commit."""
    idle_grace: int = 10 * 60
    stop_settling: int = 60
    """A stop may land late: the time after the last stop call before a stopped bastion is believed stopped."""
    unreachable: int = 4 * 60
    """How long a bastion through which people work may be unconnected before it is rebooted. Less than the five minutes
    between two turns of housekeeping, so that the second one to see it acts."""
    lease_margin: int = 15 * 60
    """How long a lease outlives the end of its grant, so that revocation finds the bastion up."""
    token: int = 15 * 60
    terminate_after_stopped: int = 4 * 3600
    terminate_after_launched: int = 7 * 24 * 3600
    database_connect: int = 60

    @property
    def approval_waits(self) -> tuple[int, int]:
        """Until the one reminder, at half of the wait, and after it. Neither is 0, which no state takes for a timeout."""
        until_reminder = max(1, self.approval_wait // 2)
        return until_reminder, max(1, self.approval_wait - until_reminder)


DURATIONS = Durations()
DURATION_NAMES = tuple(field.name for field in fields(Durations))

LEVEL = "o"
LOCAL_PORT = 56789
MAX_PEOPLE = 10
OPEN_REQUESTS_PER_PERSON = 3
LEASES_PER_BASTION = 10
"""When they are taken, the group gets another bastion."""
BASTIONS_PER_GROUP = 5
REASON_LENGTH = 300
"""Characters of a reason that are kept."""
ANSWER_LENGTH = 500
"""Characters of the reason of a denial, or of the note of a review."""
COMMAND_LENGTH = 1000
"""Characters of a command that are read at all."""

CONNECTION_LIMIT = 5
STATEMENT_TIMEOUT = "15min"
LOCK_TIMEOUT = "30s"
IDLE_IN_TRANSACTION_TIMEOUT = "5min"
IDLE_SESSION_TIMEOUT = "30min"
DATABASE_CONNECT_TRIES = 3

MINIMUM_AGENT_VERSION = (3, 1, 1374, 0)
"""First SSM agent that forwards to a remote host and refuses the VPC's own addresses (AWS: Start a session)."""
