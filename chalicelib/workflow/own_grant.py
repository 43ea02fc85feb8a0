"""The grant of a request: the one that stands under its identity, if it is this request's own."""

from chalicelib.domain.grants import Grant
from chalicelib.domain.records import RequestRecord
from chalicelib.ports import GrantLedger


def find_own_grant(record: RequestRecord, grants: GrantLedger) -> Grant | None:
    """None when nothing was granted, or when another request holds this access by now."""
    grant = grants.find_grant(record.grant_key)
    return grant if grant is not None and grant.facts.request_id == record.request.request_id else None
