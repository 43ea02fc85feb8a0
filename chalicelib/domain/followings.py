"""Where a request stands for whoever asked: its state in one word, and in a sentence. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import Grant, GrantState, seconds_left
from chalicelib.domain.receipts import Receipt
from chalicelib.domain.records import RequestRecord


class FollowedState(StrEnum):
    """The life of a request, in order."""

    WAITING = "waiting"
    """For people to decide."""
    PREPARING = "preparing"
    READY = "ready"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What was written down about the end of a request."""

    explanation: str = ""
    """Empty where the outcome says it all."""
    receipt: Receipt | None = None
    tunnels_ended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A request as the ledger has it at one moment. ``grant`` is its own, or None."""

    record: RequestRecord
    grant: Grant | None
    closing: Closing
    read_at: datetime

    @property
    def state(self) -> FollowedState:
        """What is going on. Over is only what is taken away as well."""
        record, grant = self.record, self.grant
        if record.outcome is not None:
            return FollowedState.ENDING if self._is_unproven else FollowedState.ENDED
        if record.end_asked_at is not None:
            return FollowedState.ENDING
        if grant is not None:
            if seconds_left(grant, self.read_at) == 0:
                return FollowedState.ENDING
            return FollowedState.READY if grant.delivered_at is not None else FollowedState.PREPARING
        verdict = record.decisions.verdict if record.decisions is not None else Verdict.APPROVED
        if verdict is Verdict.OPEN:
            return FollowedState.WAITING
        return FollowedState.PREPARING if verdict is Verdict.APPROVED else FollowedState.ENDING

    @property
    def _is_unproven(self) -> bool:
        """Is something given that is not taken away yet, or whose receipt is not written down yet?"""
        grant = self.grant
        return grant is not None and (
            grant.state is not GrantState.GONE or (grant.is_ordered and self.closing.receipt is None)
        )

    @property
    def explanation(self) -> str:
        """The state in a sentence for people."""
        match self.state:
            case FollowedState.WAITING:
                return _explain_waiting(self.record)
            case FollowedState.PREPARING if self.record.request.extends:
                return "It is being judged; nobody else has to decide."
            case FollowedState.PREPARING:
                return "It is being prepared: the bastion is started and the database user is made."
            case FollowedState.READY:
                return f"It is ready, until {_time(self.ends_at)}."
            case FollowedState.ENDING if self.record.outcome is not None:
                return "It has ended, but not everything is taken away yet; that is tried until a receipt says so."
            case FollowedState.ENDING:
                return "It is ending: the database user and the tunnels are being taken away."
            case FollowedState.ENDED:
                return (self.closing.explanation or _explain_outcome(self.record)) + _reason_of_denial(self.record)

    @property
    def ends_at(self) -> datetime | None:
        """When delivered access ends, or ended; None before its delivery."""
        return self.grant.ends_at if self.grant is not None and self.grant.delivered_at is not None else None


def user_arn(grant: Grant, state_machine: str) -> str | None:
    """What rds-db:connect is asked about for the grant's user; None where the database's resource id was not recorded.

    ``state_machine`` is the workflow's ARN: the databases are in its account.
    """
    if grant.resource_id is None:
        return None
    _, partition, _, _, account, *_ = state_machine.split(":")
    return f"arn:{partition}:rds-db:{grant.facts.region}:{account}:dbuser:{grant.resource_id}/{grant.facts.role}"


def newest_first(followed: list[Followed]) -> list[Followed]:
    """By when they were asked for."""
    return sorted(
        followed, key=lambda each: (each.record.request.asked_at, each.record.request.request_id), reverse=True
    )


def _explain_waiting(record: RequestRecord) -> str:
    decisions = record.decisions
    if decisions is None:
        return ""
    left = decisions.needed - len(decisions.approvers())
    return f"It waits for {left} more approval{'' if left == 1 else 's'}, until {_time(decisions.closes_at)} at the latest."


def _explain_outcome(record: RequestRecord) -> str:
    extends = record.request.extends
    match record.outcome:
        case Outcome.FINISHED if extends:
            return f"The end of {extends} was moved."
        case Outcome.FINISHED:
            return "The access has ended."
        case Outcome.CANCELLED:
            return "It was cancelled before anything was given."
        case Outcome.DENIED:
            return "It was denied."
        case Outcome.TIMED_OUT:
            return "Nobody decided in time; nothing was granted."
        case _:
            return f"It failed. Ask again; if it stays so, report {record.request.request_id}."


def _reason_of_denial(record: RequestRecord) -> str:
    """What whoever said no gave as a reason, word for word."""
    if record.outcome is not Outcome.DENIED or record.decisions is None:
        return ""
    reasons = [decision.reason for decision in record.decisions.decisions if not decision.approves and decision.reason]
    return f" The reason given: {reasons[-1]}" if reasons else ""


def _time(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at is not None else "then"
