"""The answer to `explain`: which rule applies to a level of a location, what it comes to now, and what the level can do."""

from collections.abc import Iterator

from chalicelib.domain.durations import describe_duration
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.locations import LevelRule
from chalicelib.domain.permissions import GUARD_RAILS
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.slack.blocks import (
    Block,
    Message,
    bold,
    bullets,
    code,
    context,
    count_of,
    escape,
    fields,
    literal,
    mention,
    section,
    some_of,
    time_of,
)


def explain_reply(*, explanation: Explanation) -> Message:
    """The rule, today's answer, and the abilities of the level."""
    location, level = explanation.location, explanation.level
    subject = f"*{level.word.capitalize()}* access to {bold(location.name)} ({escape(location.environment)})"
    return Message(
        text=f"{subject}: {_in_short(explanation.outcome)}.",
        blocks=[
            section(f"{subject}: {_in_short(explanation.outcome)}."),
            *_who_decides(explanation.outcome),
            *([_rule_fields(explanation.rule)] if explanation.rule is not None else []),
            *_break_glass(explanation),
            section("*It lets you*"),
            bullets(level.can),
            section("*It does not let you*"),
            bullets(level.cannot),
            literal(GUARD_RAILS),
            context(*_source(explanation)),
        ],
    )


def _in_short(outcome: PolicyOutcome) -> str:
    match outcome.answer:
        case PolicyAnswer.ALLOWED:
            return "you get it at once"
        case PolicyAnswer.NEEDS_APPROVAL:
            return f"you get it with {count_of(outcome.needed, 'approval')}"
        case PolicyAnswer.DENIED:
            return "you do not get it now"


def _who_decides(outcome: PolicyOutcome) -> Iterator[Block]:
    if outcome.answer is PolicyAnswer.DENIED:
        yield literal(outcome.reason)
    elif outcome.answer is PolicyAnswer.NEEDS_APPROVAL:
        people = sorted(outcome.approvers, key=lambda person: person.name)
        yield section(f"Who can approve now: {some_of(mention(person.person_id) for person in people) or 'nobody'}")


def _rule_fields(rule: LevelRule) -> Block:
    return fields(
        at_most=f"{describe_duration(rule.cap_seconds)} in all",
        hours=escape(rule.hours.text) if rule.hours is not None else "always",
        approvals="none, it is automatic" if rule.automatic else str(rule.needed),
    )


def _break_glass(explanation: Explanation) -> Iterator[Block]:
    rule = explanation.rule
    if explanation.may_break_glass and rule is not None and rule.break_glass is not None:
        within = describe_duration(rule.break_glass.review_within_seconds)
        yield section(
            f"In an emergency you may take it at once with {code('--break-glass')} and a reason. Every approver is told, and"
            f" one of them reviews it within {within}."
        )


def _source(explanation: Explanation) -> Iterator[str]:
    if explanation.rule is not None:
        yield f"Rule: {code(f'[locations.{explanation.location.name}.levels.{explanation.level}]')}"
    yield f"as of {time_of(explanation.at)}"
