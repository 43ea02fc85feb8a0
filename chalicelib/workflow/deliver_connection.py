"""DeliverConnection: hand the connection over once every link holds; the clock of the grant starts here."""

from contextlib import suppress

from chalicelib.domain.bastions import is_agent_new_enough
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.errors import DeliveryFailedError, SlackUnavailableError
from chalicelib.domain.grants import GrantState, delivered, seconds_left
from chalicelib.ports import AuditTrail, BastionHost, BastionLedger, Clock, GrantLedger, Notifier, RequestLedger
from chalicelib.workflow.find_database_instances import DatabaseOrder
from chalicelib.workflow.own_grant import find_own_grant


def deliver_connection(
    *,
    request_id: str,
    order: DatabaseOrder,
    certificate_bundle: str,
    requests: RequestLedger,
    grants: GrantLedger,
    bastions: BastionLedger,
    host: BastionHost,
    notifier: Notifier,
    audit: AuditTrail,
    clock: Clock,
) -> None:
    """Check the links that can break between preparation and now, set the end, then tell the person.

    The person's own login was tried by ProvisionDatabaseUser. Raises DeliveryFailedError with the link that failed.
    """
    record = requests.require_request(request_id)
    request, grant = record.approved, find_own_grant(record, grants)
    if grant is None or grant.state is not GrantState.LIVE:
        raise DeliveryFailedError(f"The grant of {request_id} is not live any more; nothing was delivered.")
    if order.instances is None:
        raise DeliveryFailedError(f"The database instances of {request.location} are not known; ask again.")
    instance_id = _require_connected_instance(grant.facts.bastion, bastions, host)
    if grant.delivered_at is None:
        now = clock()
        started = delivered(grant, instance_id=instance_id, writer=order.instances.writer, now=now)
        if seconds_left(started, now) == 0 or not grants.replace_grant(grant, started):
            raise DeliveryFailedError(f"The grant of {request_id} ended while it was being delivered. Ask again.")
        grant = started
        audit.append(request_id, "delivered", {"bastion": instance_id, "ends_at": grant.ends_at}, at=now)
    elif seconds_left(grant, clock()) == 0:
        raise DeliveryFailedError(f"The grant of {request_id} ended while it was being delivered. Ask again.")
    if record.ready_card is None:
        connection = ConnectionDetails(
            facts=grant.facts,
            instance_id=instance_id,
            writer=order.instances.writer,
            certificate_bundle=certificate_bundle,
        )
        requests.keep_card(request_id, "ready", notifier.deliver(request, grant, connection))
        requests.keep_told(request_id, end=grant.ends_at)
        # The person has it: a card that cannot be brought up to date now is closed at the end anyway.
        with suppress(SlackUnavailableError):
            notifier.announce_delivery(record, grant)


def _require_connected_instance(name: str, bastions: BastionLedger, host: BastionHost) -> str:
    bastion = bastions.find_bastion(name)
    status = host.status(bastion.instance_id) if bastion.instance_id else None
    if bastion.instance_id is None or status is None or not status.is_connected:
        raise DeliveryFailedError(f"The bastion {name} lost its connection to Session Manager. Ask again.")
    if not is_agent_new_enough(status.agent_version):
        raise DeliveryFailedError(
            f"The SSM agent of the bastion {name} is too old ({status.agent_version}); 3.1.1374.0 is the least."
        )
    return bastion.instance_id
