"""Policy: whether a request is allowed, needs approval or is denied, always with the rule that says so. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.costs import CostReport
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.locations import LevelRule, Location
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest


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
    """Who must decide, or, when the glass is broken, who must review."""
    approver_groups: frozenset[str] = frozenset()
    """Slack user groups: whoever is listed and a member when they decide may decide too."""
    needed: int = 0
    review_seconds: int = 0
    """By when access that was taken at once must be reviewed; 0 when it need not be."""


def decide_policy(
    *,
    person: Person,
    location: Location,
    level: PermissionLevel,
    duration_seconds: int,
    catalogue: Catalogue,
    now: datetime,
    is_break_glass: bool = False,
) -> PolicyOutcome:
    """Judge a request by the catalogue's rule for its location and level: people by people's rules, a machine by its own. The
    requester never counts as an approver.

    Breaking the glass passes over hours and approvals, and nothing else; the approvers review it afterwards.
    """
    if catalogue.find_listed(person) != person:
        place = "[machines]" if person.is_machine else "[people]"
        return _denied(
            f"You are not listed in Drawbridge's catalogue. Ask the people who keep it to add you under {place}."
        )
    rule = location.find_rule(level, person)
    if rule is None:
        return _denied(_explain_what_is_offered(location, level, person))
    if refusal := _find_refusal(rule, person, location, level, duration_seconds):
        return _denied(refusal)
    named = (catalogue.people[name] for name in rule.approvers)
    approvers = frozenset(approver for approver in named if approver.person_id != person.person_id)
    if is_break_glass:
        return _break_glass(rule, person, location, level, approvers)
    if rule.hours is not None and not rule.hours.contain(now):
        return _denied(f"{level.word.capitalize()} access to {location.name} is given {rule.hours.text} only.")
    if rule.automatic:
        return PolicyOutcome(answer=PolicyAnswer.ALLOWED, reason=f"{level.word} access to {location.name} is automatic")
    if len(approvers) < rule.needed and not rule.approver_groups:
        return _denied(
            f"Nobody can approve this: {level.word} access to {location.name} needs {rule.needed} approver(s) other than "
            f"yourself and the catalogue lists {len(approvers)}. Ask the people who keep it."
        )
    return PolicyOutcome(
        answer=PolicyAnswer.NEEDS_APPROVAL,
        reason=f"{level.word} access to {location.name} needs {rule.needed} approval(s)",
        approvers=approvers,
        approver_groups=rule.approver_groups,
        needed=rule.needed,
    )


def judge_request(request: AccessRequest, *, catalogue: Catalogue, now: datetime) -> PolicyOutcome:
    """Judge a filed request by the current catalogue. Raises UnknownLocationError."""
    return decide_policy(
        person=request.person,
        location=catalogue.require_location(request.location),
        level=request.level,
        duration_seconds=request.duration_seconds,
        catalogue=catalogue,
        now=now,
        is_break_glass=request.is_break_glass,
    )


def find_reviewers(request: AccessRequest, *, catalogue: Catalogue) -> frozenset[Person]:
    """Who may review access that was taken by breaking the glass: the approvers of its level, never who took it.

    What has become of the requester since, of the hours or of the cap takes no reviewer away; of a level that is offered no more
    it is whoever approves another one. Raises UnknownLocationError.
    """
    levels = catalogue.require_location(request.location).find_rules(request.person)
    rules = [levels[request.level]] if request.level in levels else levels.values()
    listed = {catalogue.people[name] for rule in rules for name in rule.approvers}
    return frozenset(person for person in listed if person.person_id != request.person.person_id)


def is_named_approver(person: Person, *, catalogue: Catalogue) -> bool:
    """Does a rule of any location name the person among those who decide and review?"""
    named = {
        name for location in catalogue.locations.values() for rule in location.all_rules for name in rule.approvers
    }
    return any(catalogue.people[name].person_id == person.person_id for name in named)


def within_budget(outcome: PolicyOutcome, costs: CostReport) -> PolicyOutcome:
    """What policy says once the month's budget is spent: nothing that nobody approves, but in an emergency."""
    if outcome.answer is not PolicyAnswer.ALLOWED or outcome.review_seconds or costs.allows_automatic:
        return outcome
    return _denied(
        f"This month's budget of ${costs.budget_dollars:.2f} is spent (${costs.dollars:.2f} so far), so nothing is given "
        "without an approval until the month ends. Ask for a level that somebody approves, or have the budget raised."
    )


def _break_glass(
    rule: LevelRule, person: Person, location: Location, level: PermissionLevel, approvers: frozenset[Person]
) -> PolicyOutcome:
    if rule.break_glass is None or person.name not in rule.break_glass.who:
        return _denied(
            f"You may not break the glass for {level.word} access to {location.name}. Ask for it without that; "
            "the catalogue's 'break_glass' decides who may."
        )
    if not approvers:
        return _denied(f"Nobody but yourself could review {level.word} access to {location.name}. Ask another way.")
    return PolicyOutcome(
        answer=PolicyAnswer.ALLOWED,
        reason=f"{level.word} access to {location.name} was taken by breaking the glass",
        approvers=approvers,
        review_seconds=rule.break_glass.review_within_seconds,
    )


def _find_refusal(
    rule: LevelRule, person: Person, location: Location, level: PermissionLevel, duration_seconds: int
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
    return None


def _explain_what_is_offered(location: Location, level: PermissionLevel, person: Person) -> str:
    rules = location.find_rules(person)
    if not rules:
        return (
            f"{location.name} offers the {person.kind} {person.name} nothing. Ask the people who keep the catalogue to write its"
            f" rules under [locations.{location.name}.machines.{person.name}]."
        )
    offered = ", ".join(f"{each.word} ({each})" for each in PermissionLevel if each in rules)
    return f"{location.name} offers {offered}, not {level.word} ({level}). Ask for one of those instead."


def _denied(reason: str) -> PolicyOutcome:
    return PolicyOutcome(answer=PolicyAnswer.DENIED, reason=reason)
