"""The database instances of a location: where to connect, and whether an address is really one of theirs."""

import re
from dataclasses import dataclass

from chalicelib.domain.errors import DatabaseNotFoundError
from chalicelib.domain.locations import DatabaseKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host name of RDS and its port. IAM tokens are signed for exactly this pair."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseInstances:
    """The writer's endpoint, and each reader's own (an Aurora reader endpoint balances, so it cannot reach a given one).

    ``resource_id`` is AWS's own name of the cluster or instance: unlike the identifier it is never another one's.
    ``may_sleep``: the cluster pauses when nobody is connected, and its first connection wakes it.
    """

    writer: Endpoint
    readers: tuple[Endpoint, ...] = ()
    resource_id: str | None = None
    may_sleep: bool = False

    def all(self) -> tuple[Endpoint, ...]:
        """Writer first."""
        return (self.writer, *self.readers)


def require_own_endpoints(instances: DatabaseInstances, *, kind: DatabaseKind, identifier: str, region: str) -> None:
    """Refuse addresses and a resource id that RDS would not give to this cluster or instance. Raises DatabaseNotFoundError.

    An endpoint reads ``<id>.cluster-<hash>.<region>.rds.amazonaws.com`` or ``<id>.<hash>.<region>.rds.amazonaws.com``
    (Aurora guide, "Aurora endpoint connections"), so an order that was tampered with cannot send the control plane's own
    login elsewhere. An instance has its one endpoint, also with a standby in another zone.
    """
    suffix = rf"\.{re.escape(region)}\.rds\.amazonaws\.com(\.cn)?"
    middle = r"\.cluster-[a-z0-9]+" if kind is DatabaseKind.CLUSTER else r"\.[a-z0-9]+"
    shapes = [(instances.writer, re.escape(identifier) + middle)]
    shapes += [(reader, r"[a-z0-9-]+\.[a-z0-9]+") for reader in instances.readers]
    for endpoint, shape in shapes:
        if not re.fullmatch(shape + suffix, endpoint.host):
            raise DatabaseNotFoundError(
                f"'{endpoint.host[:200]}' is not an endpoint of the {kind} {identifier} in {region}; nothing was done."
            )
    prefix = "cluster" if kind is DatabaseKind.CLUSTER else "db"
    if instances.resource_id is not None and not re.fullmatch(rf"{prefix}-[A-Za-z0-9]{{1,60}}", instances.resource_id):
        raise DatabaseNotFoundError(
            f"'{instances.resource_id[:200]}' is no resource id of the {kind} {identifier} in {region}; nothing was done."
        )
