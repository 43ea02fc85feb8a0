"""Take a request's lease on one of its group's bastions: the one it has it on, else the first with room."""

from datetime import datetime

from chalicelib.defaults import LEASES_PER_BASTION
from chalicelib.domain.bastions import CLOSED_TO_LEASES, bastion_names, choose_bastion
from chalicelib.domain.errors import BastionsFullError, LedgerUnavailableError
from chalicelib.ports import BastionLedger

_TRIES = 5


def lease_bastion(*, group: str, request_id: str, until: datetime, bastions: BastionLedger) -> tuple[str, bool]:
    """The name of the bastion, and whether it is leased: it is not while it is going down.

    Raises BastionsFullError, and LedgerUnavailableError when others keep being faster.
    """
    names = bastion_names(group)
    for _ in range(_TRIES):
        chosen = choose_bastion(group, bastions.find_bastions(names), request_id)
        if chosen is None:
            raise BastionsFullError(
                f"All {len(names)} bastions of {group} are full: {len(names) * LEASES_PER_BASTION} people have or await access"
                " through them. Ask again when somebody's has ended."
            )
        if bastions.take_lease(chosen.name, request_id, until=until):
            return chosen.name, True
        if chosen.state in CLOSED_TO_LEASES:
            return chosen.name, False
    raise LedgerUnavailableError(f"The bastions of {group} kept changing; {request_id} is tried again.")
