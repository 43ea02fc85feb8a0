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
    """The writer's endpoint, and each reader's own (an Aurora reader endpoint balances, so it cannot reach a given one)."""

    writer: Endpoint
    readers: tuple[Endpoint, ...] = ()

    def all(self) -> tuple[Endpoint, ...]:
        """Writer first."""
        return (self.writer, *self.readers)


def require_own_endpoints(instances: DatabaseInstances, *, kind: DatabaseKind, identifier: str, region: str) -> None:
    """Refuse addresses that RDS would not give to this cluster or instance. Raises DatabaseNotFoundError.

    An endpoint reads ``<id>.cluster-<hash>.<region>.rds.amazonaws.com`` or ``<id>.<hash>.<region>.rds.amazonaws.com``
    (Aurora guide, "Aurora endpoint connections"), so an order that was tampered with cannot send the control plane's own
    login elsewhere.
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
