"""What a month has cost so far, reckoned from the ledger and listed prices. An estimate in dollars: AWS alone sends bills."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

HOURS_IN_A_MONTH = 730
BASTION_HOUR = 0.0042
"""A t4g.nano for an hour. Prices are AWS's listed ones for us-east-1; docs/cost.md has them all."""
DISK_MONTH = 8 * 0.08
"""The bastion's disk of 8 GiB for a month: gp3. It is there as long as the instance is."""
SECRET_MONTH = 0.40
"""Slack's two secrets, as one secret of Secrets Manager."""
HOUSEKEEPING_MONTH = 0.03
"""The schedules' functions, their log and what is stored, for a month."""
REQUEST = 0.0015
"""Functions, workflow, API, table and logs of one request, without any free tier."""
_WARM_UP_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One grant's use of a bastion."""

    request_id: str
    person_id: str
    location: str
    bastion: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantCost:
    """What one grant kept running, in seconds of a bastion, and its share of the price."""

    request_id: str
    person_id: str
    location: str
    bastion_seconds: int
    dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """A calendar month in UTC up to ``read_at``."""

    month: str
    read_at: datetime
    dollars: float
    parts: tuple[tuple[str, float], ...]
    """Named parts that add up to ``dollars``."""
    grants: tuple[GrantCost, ...]
    """Dearest first."""
    budget_dollars: float | None = None

    @property
    def allows_warm_ups(self) -> bool:
        """Bastions are started before anybody has approved only while a fifth of the budget is left."""
        return self.budget_dollars is None or self.dollars < self.budget_dollars * _WARM_UP_SHARE

    @property
    def allows_automatic(self) -> bool:
        """Access that nobody approves is given only within the budget."""
        return self.budget_dollars is None or self.dollars < self.budget_dollars


def month_of(now: datetime) -> str:
    """The calendar month in UTC, such as 2026-11."""
    return f"{now.astimezone(UTC):%Y-%m}"


def reckon_month(
    uses: Sequence[Use],
    *,
    requests: int,
    idle_grace_seconds: int,
    disk_seconds: int,
    budget_dollars: float | None,
    now: datetime,
) -> CostReport:
    """Reckon the month of ``now``.

    A bastion runs while somebody uses it and for the grace time after; whoever uses it at the same time shares its price. Its
    disk is there for ``disk_seconds`` longer.
    """
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    running = [each for use in uses if (each := _within(use, start, now, idle_grace_seconds))]
    kept = [each for use in uses if (each := _within(use, start, now, disk_seconds))]
    shares = dict.fromkeys((use.request_id for use in running), 0.0)
    for holders, seconds in _shared(running):
        for request_id in holders:
            shares[request_id] += seconds / len(holders)
    disk = sum(seconds for _, seconds in _shared(kept)) / 3600 / HOURS_IN_A_MONTH * DISK_MONTH
    gone = (now - start).total_seconds() / 3600 / HOURS_IN_A_MONTH
    parts = (
        ("bastions", sum(shares.values()) / 3600 * BASTION_HOUR),
        ("their disks", disk),
        ("requests", requests * REQUEST),
        ("secret", gone * SECRET_MONTH),
        ("housekeeping", gone * HOUSEKEEPING_MONTH),
    )
    grants = [
        GrantCost(
            request_id=use.request_id,
            person_id=use.person_id,
            location=use.location,
            bastion_seconds=round(shares[use.request_id]),
            dollars=shares[use.request_id] / 3600 * BASTION_HOUR + REQUEST,
        )
        for use in running
    ]
    return CostReport(
        month=month_of(now),
        read_at=now,
        dollars=sum(dollars for _, dollars in parts),
        parts=parts,
        grants=tuple(sorted(grants, key=lambda cost: (-cost.dollars, cost.request_id))),
        budget_dollars=budget_dollars,
    )


def _within(use: Use, start: datetime, now: datetime, after_seconds: int) -> Use | None:
    first, last = max(use.start, start), min(use.end + timedelta(seconds=after_seconds), now)
    if last <= first:
        return None
    return Use(
        request_id=use.request_id,
        person_id=use.person_id,
        location=use.location,
        bastion=use.bastion,
        start=first,
        end=last,
    )


def _shared(uses: Iterable[Use]) -> Iterator[tuple[list[str], float]]:
    """For each stretch of time of each bastion in use: by whom, and how many seconds."""
    uses = list(uses)
    for bastion in sorted({use.bastion for use in uses}):
        own = [use for use in uses if use.bastion == bastion]
        moments = sorted({moment for use in own for moment in (use.start, use.end)})
        for first, last in pairwise(moments):
            if holders := [use.request_id for use in own if use.start <= first and last <= use.end]:
                yield holders, (last - first).total_seconds()
