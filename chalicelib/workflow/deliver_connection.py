"""DeliverConnection: hand the connection over once every link holds; the clock of the grant starts here."""

from contextlib import suppress

from chalicelib.domain.audit import AuditEvent
from chalicelib.domain.bastions import bastion_names, find_agent_objection, find_holding
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.errors import DeliveryFailedError, SlackUnavailableError
from chalicelib.domain.grants import Grant, GrantState, delivered, seconds_left
from chalicelib.ports import AuditTrail, BastionHost, BastionLedger, Clock, GrantLedger, Notifier, RequestLedger
from chalicelib.workflow.find_database_instances import DatabaseOrder
from chalicelib.workflow.own_grant import find_own_grant


def deliver_connection(
    *,
    request_id: str,
    order: DatabaseOrder,
    stage: str,
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
    instance_id = _require_connected_instance(grant, bastions, host)
    if grant.delivered_at is None:
        now = clock()
        started = delivered(
            grant,
            instance_id=instance_id,
            writer=order.instances.writer,
            resource_id=order.instances.resource_id,
            now=now,
        )
        if seconds_left(started, now) == 0 or not grants.replace_grant(grant, started):
            raise DeliveryFailedError(f"The grant of {request_id} ended while it was being delivered. Ask again.")
        grant = started
    elif seconds_left(grant, clock()) == 0:
        raise DeliveryFailedError(f"The grant of {request_id} ended while it was being delivered. Ask again.")
    way = {"bastion": grant.instance_id, "host": order.instances.writer.host, "role": grant.facts.role}
    audit.append(request_id, AuditEvent.DELIVERED, {**way, "ends_at": grant.ends_at}, at=grant.delivered_at or clock())
    if record.ready_card is None:
        connection = ConnectionDetails(
            facts=grant.facts,
            instance_id=instance_id,
            writer=order.instances.writer,
            stage=stage,
            certificate_bundle=certificate_bundle,
        )
        if card := notifier.deliver(request, grant, connection):
            requests.keep_card(request_id, "ready", card)
        requests.keep_told(request_id, end=grant.ends_at, instance_id=instance_id)
        # The person has it: a card that cannot be brought up to date now is closed at the end anyway.
        with suppress(SlackUnavailableError):
            notifier.announce_delivery(record, grant)


def _require_connected_instance(grant: Grant, bastions: BastionLedger, host: BastionHost) -> str:
    group = grant.facts.bastion
    bastion = find_holding(bastions.find_bastions(bastion_names(group)), grant.facts.request_id)
    instance_id = bastion.instance_id if bastion is not None else None
    status = host.status(instance_id) if instance_id else None
    if instance_id is None or status is None or not status.is_connected:
        raise DeliveryFailedError(f"The bastion {group} lost its connection to Session Manager. Ask again.")
    if objection := find_agent_objection(group, status.agent_version):
        raise DeliveryFailedError(objection)
    return instance_id
