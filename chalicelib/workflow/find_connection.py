"""How the holder of a live grant reaches its database: read from the ledger for its holder alone, changing nothing."""

from datetime import datetime

from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import Refusal
from chalicelib.domain.grants import seconds_left
from chalicelib.ports import GrantLedger, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant


def find_connection(
    *,
    request_id: str,
    person_id: str,
    stage: str,
    certificate_bundle: str,
    requests: RequestLedger,
    grants: GrantLedger,
    now: datetime,
) -> ConnectionDetails | Refusal:
    """The delivered connection of a grant, while it is live."""
    record = requests.find_request(request_id)
    if record is None or record.request.person.person_id != person_id:
        return Refusal(reason=f"{request_id} is not yours: only the person who was granted access can see this.")
    grant = find_own_grant(record, grants)
    if grant is None or grant.instance_id is None or grant.writer is None or seconds_left(grant, now) == 0:
        return Refusal(reason=f"{request_id} has ended. Ask again with /db-access.")
    return ConnectionDetails(
        facts=grant.facts,
        instance_id=grant.instance_id,
        writer=grant.writer,
        stage=stage,
        certificate_bundle=certificate_bundle,
    )
