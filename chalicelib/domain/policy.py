"""Policy: whether a request is allowed, needs approval or is denied, always with the rule that says so. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.locations import LevelRule, Location
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel


class PolicyAnswer(StrEnum):
    """The three things policy can say."""

    ALLOWED = "allowed"
    NEEDS_APPROVAL = "needs_approval"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome:
    """What policy says, why, and, when others must decide, who they are and how many of them are needed."""

    answer: PolicyAnswer
    reason: str
    approvers: frozenset[Person] = frozenset()
    needed: int = 0


def decide_policy(
    *,
    person: Person,
    location: Location,
    level: PermissionLevel,
    duration_seconds: int,
    catalogue: Catalogue,
    now: datetime,
) -> PolicyOutcome:
    """Judge a request by the catalogue's rule for its location and level. The requester never counts as an approver."""
    if catalogue.people.get(person.name) != person:
        return _denied(
            "You are not listed in Drawbridge's catalogue. Ask the people who keep it to add you under [people]."
        )
    rule = location.levels.get(level)
    if rule is None:
        return _denied(
            f"{location.name} offers {_offered(location)}, not {level.word} ({level}). Ask for one of those instead."
        )
    if refusal := _find_refusal(rule, person, location, level, duration_seconds, now):
        return _denied(refusal)
    if rule.automatic:
        return PolicyOutcome(answer=PolicyAnswer.ALLOWED, reason=f"{level.word} access to {location.name} is automatic")
    approvers = frozenset(catalogue.people[name] for name in rule.approvers if name != person.name)
    if len(approvers) < rule.needed:
        return _denied(
            f"Nobody can approve this: {level.word} access to {location.name} needs {rule.needed} approver(s) other than "
            f"yourself and the catalogue lists {len(approvers)}. Ask the people who keep it."
        )
    return PolicyOutcome(
        answer=PolicyAnswer.NEEDS_APPROVAL,
        reason=f"{level.word} access to {location.name} needs {rule.needed} approval(s)",
        approvers=approvers,
        needed=rule.needed,
    )


def _find_refusal(
    rule: LevelRule,
    person: Person,
    location: Location,
    level: PermissionLevel,
    duration_seconds: int,
    now: datetime,
) -> str | None:
    if not rule.admits(person.name):
        return f"You may not ask for {level.word} access to {location.name}. The catalogue's 'who' decides that."
    if duration_seconds > rule.cap_seconds:
        return (
            f"{describe_duration(duration_seconds)} is too long: {describe_duration(rule.cap_seconds)} is the most for "
            f"{level.word} access to {location.name}."
        )
    if duration_seconds <= 0:
        return "Ask for at least a second."
    if rule.hours is not None and not rule.hours.contain(now):
        return f"{level.word.capitalize()} access to {location.name} is given {rule.hours.text} only."
    return None


def _offered(location: Location) -> str:
    return ", ".join(f"{level.word} ({level})" for level in PermissionLevel if level in location.levels)


def _denied(reason: str) -> PolicyOutcome:
    return PolicyOutcome(answer=PolicyAnswer.DENIED, reason=reason)
