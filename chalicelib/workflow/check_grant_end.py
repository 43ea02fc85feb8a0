"""CheckGrantEnd: the one place that turns a live grant into an ending one, by one conditional write."""

import math
from dataclasses import dataclass
from datetime import datetime

from chalicelib.defaults import Durations
from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantState, ensure_ending, seconds_left, warns_at
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import AuditTrail, Clock, GrantLedger, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant

_TRIES = 5
_TELL_AGAIN_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnd:
    """Whether revocation is due; if not, whether the holder has to be told something, and how long to wait."""

    is_ending: bool
    has_news: bool = False
    wait_seconds: int = 0


def check_grant_end(
    *,
    request_id: str,
    end_now: bool,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    audit: AuditTrail,
    clock: Clock,
) -> GrantEnd:
    """Decide from the ledger alone. ``end_now`` ends the grant whatever its end is, for a request that failed."""
    for _ in range(_TRIES):
        record = requests.require_request(request_id)
        grant, now = find_own_grant(record, grants), clock()
        if grant is None or grant.state is not GrantState.LIVE:
            if grant is not None:
                # Whoever turned it may have died before writing it down.
                _write_down(grant, record, audit)
            return GrantEnd(is_ending=True)
        end_asked = record.end_asked_at is not None
        ending = ensure_ending(grant, now=now, end_asked=end_now or end_asked)
        if ending is grant:
            end = go_on(record, grant, durations, now)
            if end.has_news:
                # Noted before anybody is told, so that a telling that never begins is repeated later and not at once.
                requests.keep_tell_try(request_id, at=now)
            return end
        if grants.replace_grant(grant, ending):
            _write_down(ending, record, audit)
            return GrantEnd(is_ending=True)
    raise LedgerUnavailableError(f"The grant of {request_id} kept changing; it is looked at again.")


def _write_down(ending: Grant, record: RequestRecord, audit: AuditTrail) -> None:
    """By the ledger alone, so that it is the same however often it is told."""
    request_id, asked_at = ending.facts.request_id, record.end_asked_at
    if asked_at is not None:
        audit.append(request_id, AuditEvent.END_ASKED, {"asked_at": asked_at}, at=asked_at)
    facts = {"role": ending.facts.role, "ends_at": ending.ends_at}
    audit.append(request_id, AuditEvent.ENDING, facts, at=ending.ends_at)


def go_on(record: RequestRecord, grant: Grant, durations: Durations, now: datetime) -> GrantEnd:
    """Wait for the end, or for the moment at which the holder is warned of it. What Slack did not take is tried again."""
    left = seconds_left(grant, now)
    warning = warns_at(grant, warning_seconds=durations.warning)
    is_warning_due = now >= warning and record.warned_end != grant.ends_at
    is_untold = record.told_end != grant.ends_at or is_warning_due or not record.knows_the_way(grant)
    if is_untold:
        since = (now - record.tell_tried_at).total_seconds() if record.tell_tried_at else _TELL_AGAIN_SECONDS
        if since >= _TELL_AGAIN_SECONDS:
            return GrantEnd(is_ending=False, has_news=True, wait_seconds=left)
        return GrantEnd(is_ending=False, wait_seconds=min(left, math.ceil(_TELL_AGAIN_SECONDS - since)))
    to_warning = math.ceil((warning - now).total_seconds())
    return GrantEnd(is_ending=False, wait_seconds=min(left, to_warning) if to_warning > 0 else left)
