"""Orders to the database: what to provision or revoke, and whose users else belong there. Role names are recomputed here."""

from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import DatabaseInstances
from chalicelib.domain.locations import Location
from chalicelib.domain.roles import GroupNames, group_roles


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGrants:
    """The requests whose grants at one cluster or instance are not gone, as the ledger listed them at ``listed_at``.

    The list is a moment old wherever it is used, so it says nothing about a user who may have been made after it.
    """

    request_ids: frozenset[str]
    listed_at: datetime

    def disown(self, *, request_id: str, not_after: datetime) -> bool:
        """Is a user whom this request made nobody's? ``not_after`` is the last moment at which the request may have made it.

        A grant stands in the ledger for all the time that its preparation may take before that moment: far longer than
        the ledger's index is behind. A younger one may be missing in the list, and its user is left alone.
        """
        return request_id not in self.request_ids and not_after <= self.listed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningOrder:
    """Make the person's database user. Not to be committed after ``not_after``."""

    facts: GrantFacts
    location: Location
    instances: DatabaseInstances
    ends_at: datetime
    not_after: datetime
    open_grants: OpenGrants | None = None

    @property
    def groups(self) -> GroupNames:
        """The groups of the location."""
        return group_roles(self.facts.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationOrder:
    """Take the person's database user away, by the facts frozen in the grant and never the current catalogue."""

    facts: GrantFacts
    instances: DatabaseInstances
    open_grants: OpenGrants | None = None

    @property
    def groups(self) -> GroupNames:
        """The groups of the location."""
        return group_roles(self.facts.location)
