"""Orders to the database: what to provision or revoke. Role names are recomputed here, whatever a payload says."""

from dataclasses import dataclass
from datetime import datetime

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import DatabaseInstances
from chalicelib.domain.locations import Location
from chalicelib.domain.roles import GroupNames, group_roles


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningOrder:
    """Make the person's database user. Not to be committed after ``not_after``."""

    facts: GrantFacts
    location: Location
    instances: DatabaseInstances
    ends_at: datetime
    not_after: datetime

    @property
    def groups(self) -> GroupNames:
        """The groups of the location."""
        return group_roles(self.facts.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationOrder:
    """Take the person's database user away, by the facts frozen in the grant and never the current catalogue."""

    facts: GrantFacts
    instances: DatabaseInstances

    @property
    def groups(self) -> GroupNames:
        """The groups of the location."""
        return group_roles(self.facts.location)
