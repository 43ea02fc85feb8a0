"""The answer to `cost`: the month so far, reckoned from the ledger and listed prices. It never claims to be a bill."""

from collections.abc import Iterator

from chalicelib.domain.costs import CostReport, GrantCost
from chalicelib.domain.durations import describe_duration
from chalicelib.slack.blocks import Block, Message, context, day_and_time_of, escape, mention, paragraphs, section

_GRANTS = 10
_A_DIME = 0.1


def cost_reply(*, report: CostReport) -> Message:
    """The sum, its parts, the dearest grants, and how much of the budget is left."""
    total = f"{escape(report.month)} so far: *{_dollars(report.dollars)}*{_budget(report)}"
    return Message(
        text=total,
        blocks=[
            section(total),
            *paragraphs(f"{escape(name)}: {_dollars(dollars)}" for name, dollars in report.parts),
            *_dearest(report),
            context(
                f"as of {day_and_time_of(report.read_at)}", "reckoned from listed prices; only AWS's bill is the bill"
            ),
        ],
    )


def _budget(report: CostReport) -> str:
    budget = report.budget_dollars
    if budget is None:
        return "."
    if report.dollars < budget:
        return f" of a budget of {_dollars(budget)}."
    return f". That is over the budget of {_dollars(budget)}, which ends warm-ups first and then automatic access."


def _dearest(report: CostReport) -> Iterator[Block]:
    if not report.grants:
        return
    yield section("*By grant*, the dearest first")
    more = len(report.grants) - _GRANTS
    lines = [_grant_line(grant) for grant in report.grants[:_GRANTS]]
    yield from paragraphs([*lines, *([f"and {more} more"] if more > 0 else [])])


def _grant_line(grant: GrantCost) -> str:
    kept = describe_duration(grant.bastion_seconds)
    who = mention(grant.person_id)
    return f"{escape(grant.request_id)} {who} {escape(grant.location)}: {_dollars(grant.dollars)}, a bastion for {kept}"


def _dollars(amount: float) -> str:
    """Cents, and more digits where cents would say nothing."""
    return f"${amount:,.2f}" if amount >= _A_DIME or amount == 0 else f"${amount:,.4f}"
