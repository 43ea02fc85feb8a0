"""RevokeAccess: take the database user away and bring back the receipt. Runs in the VPC; uses the facts frozen in the grant."""

from chalicelib.domain.errors import DatabaseUnavailableError, RevocationIncompleteError
from chalicelib.domain.instances import require_own_endpoints
from chalicelib.domain.orders import RevocationOrder
from chalicelib.domain.receipts import Receipt
from chalicelib.ports import DatabaseAdmin
from chalicelib.workflow.find_database_instances import DatabaseOrder


def revoke_access(*, order: DatabaseOrder | None, database: DatabaseAdmin) -> Receipt | None:
    """The receipt; None when nothing had ever been ordered. Raises DatabaseUnavailable- and RevocationIncompleteError.

    An order that is not known claims nothing, so it is an error and not an empty receipt.
    """
    if order is not None and not order.is_ordered:
        return None
    if order is None or order.facts is None or order.instances is None:
        raise DatabaseUnavailableError("The database instances are not known yet; revocation goes on until they are.")
    facts = order.facts
    require_own_endpoints(order.instances, kind=facts.kind, identifier=facts.identifier, region=facts.region)
    receipt = database.revoke(RevocationOrder(facts=facts, instances=order.instances, open_grants=order.open_grants))
    if not receipt.proves_end:
        raise RevocationIncompleteError(
            f"After revoking {facts.role} the database still shows {receipt.sessions} session(s), "
            f"login {'on' if receipt.can_log_in else 'off'}, {len(receipt.memberships)} membership(s). It is tried again."
        )
    return receipt
