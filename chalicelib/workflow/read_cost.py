"""What the month has cost so far: read from the ledger, changing nothing."""

from datetime import datetime, timedelta

from chalicelib.defaults import Durations
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.costs import CostReport, Use, month_of, reckon_month
from chalicelib.ports import GrantLedger, RequestLedger


def read_cost(
    *, catalogue: Catalogue, durations: Durations, requests: RequestLedger, grants: GrantLedger, now: datetime
) -> CostReport:
    """Reckon this month, by the grants that ended in it and those that stand. Raises LedgerUnavailableError."""
    this_month = month_of(now)
    # What ended right before the month has left a disk behind for a while.
    before = month_of(now - timedelta(seconds=durations.terminate_after_stopped))
    standing = grants.open_grants()
    standing_ids = {grant.facts.request_id for grant in standing}
    ended = [
        each
        for month in sorted({before, this_month})
        for each in requests.ended_in(month)
        if each.request.request_id not in standing_ids
    ]
    uses = [
        Use(
            request_id=each.request.request_id,
            person_id=each.request.person.person_id,
            location=each.request.location,
            bastion=each.bastion,
            start=each.granted_at,
            end=each.ended_at,
        )
        for each in ended
        if each.granted_at is not None
    ]
    uses += [
        Use(
            request_id=grant.facts.request_id,
            person_id=grant.facts.person.person_id,
            location=grant.facts.location,
            bastion=grant.facts.bastion,
            start=grant.created_at,
            end=now,
        )
        for grant in standing
    ]
    return reckon_month(
        uses,
        requests=sum(month_of(each.ended_at) == this_month for each in ended) + len(standing),
        idle_grace_seconds=durations.idle_grace,
        disk_seconds=durations.terminate_after_stopped,
        budget_dollars=catalogue.budget_dollars,
        now=now,
    )
