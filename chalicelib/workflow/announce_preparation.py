"""AnnouncePreparation: say on the cards what is being done meanwhile. Nothing waits for it."""

from chalicelib.ports import Notifier, RequestLedger
from chalicelib.workflow.find_database_instances import DatabaseOrder


def announce_preparation(*, request_id: str, order: DatabaseOrder, requests: RequestLedger, notifier: Notifier) -> None:
    """Bring the cards that stand up to date. A database that may sleep is woken by the first connection to it."""
    may_sleep = order.instances is not None and order.instances.may_sleep
    notifier.announce_preparation(requests.require_request(request_id), may_sleep=may_sleep)
