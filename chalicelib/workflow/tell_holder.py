"""TellHolder: tell the holder of a later end, of another bastion, and that the end is near.

The hold goes on whether or not Slack takes it.
"""

from chalicelib.defaults import Durations
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.grants import GrantState, warns_at
from chalicelib.ports import Clock, GrantLedger, Notifier, RequestLedger
from chalicelib.workflow.own_grant import find_own_grant


def tell_holder(
    *,
    request_id: str,
    stage: str,
    certificate_bundle: str,
    durations: Durations,
    requests: RequestLedger,
    grants: GrantLedger,
    notifier: Notifier,
    clock: Clock,
) -> None:
    """Tell what has not been told yet. CheckGrantEnd has noted the try; once it is done, the next news need not wait for it."""
    record, now = requests.require_request(request_id), clock()
    grant = find_own_grant(record, grants)
    if grant is None or grant.state is not GrantState.LIVE or grant.instance_id is None or grant.writer is None:
        return
    if record.told_end != grant.ends_at or not record.knows_the_way(grant):
        connection = ConnectionDetails(
            facts=grant.facts,
            instance_id=grant.instance_id,
            writer=grant.writer,
            stage=stage,
            certificate_bundle=certificate_bundle,
        )
        notifier.show_end(record, grant, connection)
    requests.keep_told(request_id, end=grant.ends_at, instance_id=grant.instance_id)
    if now >= warns_at(grant, warning_seconds=durations.warning) and record.warned_end != grant.ends_at:
        if card := notifier.warn_of_end(record.approved, grant):
            requests.keep_card(request_id, "soon", card)
        requests.keep_told(request_id, warned=grant.ends_at)
    requests.keep_tell_try(request_id, at=None)
