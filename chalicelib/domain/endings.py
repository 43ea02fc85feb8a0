"""How a request ended, once and for all: finished, denied, timed out or failed, with what is known about it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import DecisionRecord, Verdict
from chalicelib.domain.errors import AccessError
from chalicelib.domain.grants import Grant
from chalicelib.domain.policy import PolicyAnswer
from chalicelib.domain.receipts import ClosedTunnels, Receipt
from chalicelib.domain.requests import AccessRequest

_OURS = frozenset(kind.__name__ for kind in AccessError.__subclasses__())
"""The errors whose text is fit for people; any other's may quote an address, a password or a stack."""


class Purpose(StrEnum):
    """What an execution is for: a request's whole life, an extension, seeing a revocation through, or a review."""

    GRANT = "grant"
    EXTEND = "extend"
    REVOKE = "revoke"
    REVIEW = "review"


class Outcome(StrEnum):
    """The named ends of a request."""

    FINISHED = "finished"
    DENIED = "denied"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything that the last card of a request says.

    ``explanation`` is a sentence fit for the requester (why denied, which step failed and what to do next); empty when finished.
    ``receipt`` is None when nothing was provisioned, or when the database could not be reached: ``is_revoked`` tells which.
    """

    request: AccessRequest
    outcome: Outcome
    explanation: str
    grant: Grant | None
    decisions: DecisionRecord | None
    receipt: Receipt | None
    tunnels: ClosedTunnels
    is_revoked: bool
    approval_card: CardReference | None
    ready_card: CardReference | None
    asked_card: CardReference | None = None
    soon_card: CardReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepError:
    """What a Catch keeps: the name of an error and its cause. Both empty when nothing failed."""

    Error: str = ""
    Cause: str = ""

    @property
    def is_answer(self) -> bool:
        """Did the function itself say so? Otherwise it may have died with its work half done, or not."""
        return self.Error.endswith("Error") and "." not in self.Error

    def explain(self, request_id: str) -> str:
        """A sentence fit for the requester: our own errors' text, and for everything else which kind of failure it was."""
        if self.Error in _OURS and (message := _message(self.Cause)):
            return message
        return f"A step did not answer ({self.Error}). Ask again; if it stays so, report {request_id}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """How one branch of the preparation ended."""

    is_ok: bool
    error: StepError = StepError()


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The course of an execution, as its document tells it at the end. Whether access is gone is the ledger's to say."""

    purpose: Purpose
    policy_answer: str
    policy_reason: str
    verdict: str
    verdict_reason: str
    is_confirmed: bool
    confirmation_reason: str
    bastion: Prepared
    database_user: Prepared
    failure: StepError

    @property
    def is_order_answered(self) -> bool:
        """Did provisioning say how it went? Then it cannot commit any more."""
        return self.database_user.is_ok or self.database_user.error.is_answer


def decide_outcome(course: Course, *, request_id: str, is_end_asked: bool = False) -> tuple[Outcome, str]:
    """The named end of a request and the sentence that explains it. What was taken back before it was granted is cancelled."""
    if course.failure.Error:
        return Outcome.FAILED, course.failure.explain(request_id)
    if course.purpose is Purpose.REVOKE:
        return Outcome.FAILED, f"The workflow of {request_id} stopped before its end."
    if refused := _refused(course, is_end_asked=is_end_asked):
        return refused
    if course.purpose is Purpose.EXTEND:
        return Outcome.FINISHED, ""
    for branch in (course.bastion, course.database_user):
        if not branch.is_ok:
            return Outcome.FAILED, branch.error.explain(request_id)
    return Outcome.FINISHED, ""


def _refused(course: Course, *, is_end_asked: bool) -> tuple[Outcome, str] | None:
    if course.policy_answer == PolicyAnswer.DENIED:
        return Outcome.DENIED, course.policy_reason
    if course.verdict == Verdict.CANCELLED:
        return Outcome.CANCELLED, ""
    if course.verdict == Verdict.DENIED:
        return Outcome.DENIED, course.verdict_reason or "An approver said no."
    if course.verdict == Verdict.TIMED_OUT:
        return Outcome.TIMED_OUT, "Nobody decided in time; nothing was granted."
    if course.is_confirmed:
        return None
    return (Outcome.CANCELLED, "") if is_end_asked else (Outcome.DENIED, course.confirmation_reason)


def _message(cause: str) -> str:
    try:
        answer = json.loads(cause)
    except (ValueError, RecursionError):
        return ""
    return str(answer.get("errorMessage", "")) if isinstance(answer, Mapping) else ""
