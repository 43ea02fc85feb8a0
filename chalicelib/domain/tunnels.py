"""Tunnels: which SSM sessions belong to which grant, and which belong to nobody. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.grants import Grant, GrantState
from chalicelib.domain.session_documents import leads_elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One SSM port-forwarding session on a bastion. ``owner`` is the AWS principal that opened it, by ``document``."""

    session_id: str
    instance_id: str
    owner: str
    reason: str
    started_at: datetime
    document: str = ""


def is_tunnel_of(tunnel: Tunnel, grant: Grant) -> bool:
    """Does the tunnel belong to the grant? By its owner where the person's AWS principals are known, else by its reason.

    One that was opened by another location's own document leads to a database that this grant is not for.
    """
    person = grant.facts.person
    if leads_elsewhere(tunnel.document, grant.facts.location):
        return False
    if person.aws:
        return person.owns_principal(tunnel.owner)
    return tunnel.reason == grant.facts.request_id


def leads_through(tunnel: Tunnel, grant: Grant) -> bool:
    """Is the tunnel on the instance that was delivered with the grant? Before delivery any of its group is as good."""
    return grant.instance_id in {None, tunnel.instance_id}


def is_explained(tunnel: Tunnel, grants: Iterable[Grant]) -> bool:
    """Does any live grant explain the tunnel, and that it is where it is?"""
    return any(
        grant.state is GrantState.LIVE and is_tunnel_of(tunnel, grant) and leads_through(tunnel, grant)
        for grant in grants
    )


def tunnels_to_end(
    tunnels: Collection[Tunnel], *, ended: Grant, others: Collection[Grant]
) -> tuple[list[Tunnel], list[Tunnel], list[Tunnel]]:
    """Sort the tunnels through the bastions of one group once a grant has ended: those to end, those kept, those nobody explains.

    A tunnel of the grant is kept while another live grant of the same person covers it. Grants through other groups
    explain nothing here.
    """
    here = [grant for grant in others if grant.facts.bastion == ended.facts.bastion]
    covering = [
        grant
        for grant in here
        if grant.facts.person.person_id == ended.facts.person.person_id
        and grant.facts.request_id != ended.facts.request_id
    ]
    own = [tunnel for tunnel in tunnels if is_tunnel_of(tunnel, ended)]
    kept = [tunnel for tunnel in own if is_explained(tunnel, covering)]
    unexplained = [tunnel for tunnel in tunnels if tunnel not in own and not is_explained(tunnel, here)]
    return [tunnel for tunnel in own if tunnel not in kept], kept, unexplained
