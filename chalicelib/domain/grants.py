"""A grant: approved access with an end. ``live`` until the end is reached or asked for, ``ending`` until a receipt, ``gone``."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.defaults import Durations
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import MAIN_PROVISIONER, DatabaseKind, Location, SessionDocument, TokenSource
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.roles import person_role

_PATIENCE_MINUTES = 2
"""How late an end may be before somebody else than its own execution sees to it."""
_HOUR = 60
_DOUBLINGS_IN_AN_HOUR = 5


class GrantState(StrEnum):
    """The life of a grant, in order."""

    LIVE = "live"
    ENDING = "ending"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """What revocation needs to know, frozen when the grant is made: the catalogue may change while it lives."""

    request_id: str
    person: Person
    location: str
    level: PermissionLevel
    kind: DatabaseKind
    identifier: str
    database: str
    region: str
    bastion: str
    port: int
    document: SessionDocument
    token: TokenSource
    profile: str = ""
    document_port: int | None = None
    """The local port that the location's own document opens unless told another."""
    provisioner: str = MAIN_PROVISIONER
    """Whose database functions reach the database."""

    @property
    def role(self) -> str:
        """The person's database user, always recomputed."""
        return person_role(
            location=self.location, person_id=self.person.person_id, level=self.level, name=self.person.name
        )

    @property
    def key(self) -> str:
        """The grant's identity: one per location, person and level."""
        return grant_key(self.location, self.person, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One grant as the ledger holds it. ``ends_at`` is the only authority on its end."""

    facts: GrantFacts
    state: GrantState
    duration_seconds: int
    created_at: datetime
    ends_at: datetime
    provision_by: datetime
    """A provisioning order that commits later than this is rolled back."""
    is_ordered: bool = False
    """Has provisioning been ordered? If not, there is nothing to revoke in the database."""
    delivered_at: datetime | None = None
    instance_id: str | None = None
    """The bastion instance that was delivered."""
    writer: Endpoint | None = None
    resource_id: str | None = None
    """What RDS calls the cluster or instance in the ARNs of rds-db:connect; unknown of what an older release delivered."""
    extension_ids: tuple[str, ...] = ()
    """The requests that moved the end."""
    is_break_glass: bool = False


def grant_key(location: str, person: Person, level: PermissionLevel) -> str:
    """The identity of a person's grant for a location and level."""
    return f"{location}#{person.person_id}#{level}"


def freeze_facts(
    *,
    request_id: str,
    person: Person,
    location: Location,
    level: PermissionLevel,
    port: int | None = None,
    profile: str = "",
) -> GrantFacts:
    """The facts of a grant, by the catalogue as it is now. ``port`` replaces the location's own."""
    return GrantFacts(
        request_id=request_id,
        person=person,
        location=location.name,
        level=level,
        kind=location.kind,
        identifier=location.identifier,
        database=location.database,
        region=location.region,
        bastion=location.bastion.name,
        port=port or location.port,
        document=location.document,
        token=location.token,
        profile=profile,
        document_port=location.port,
        provisioner=location.bastion.provisioner,
    )


def new_grant(
    *, request: AccessRequest, location: Location, durations: Durations, now: datetime, port: int | None = None
) -> Grant:
    """The grant of a request, with its latest possible end: delivery may only set it earlier."""
    provision_by = now + timedelta(seconds=durations.preparation)
    return Grant(
        facts=freeze_facts(
            request_id=request.request_id,
            person=request.person,
            location=location,
            level=request.level,
            port=port,
            profile=request.profile,
        ),
        state=GrantState.LIVE,
        duration_seconds=request.duration_seconds,
        created_at=now,
        ends_at=provision_by + timedelta(seconds=request.duration_seconds),
        provision_by=provision_by,
        is_break_glass=request.is_break_glass,
    )


def delivered(
    grant: Grant, *, instance_id: str, writer: Endpoint, now: datetime, resource_id: str | None = None
) -> Grant:
    """The grant once its connection is delivered: the clock starts now, and never moves the end later."""
    return replace(
        grant,
        delivered_at=now,
        ends_at=min(grant.ends_at, now + timedelta(seconds=grant.duration_seconds)),
        instance_id=instance_id,
        writer=writer,
        resource_id=resource_id,
    )


def seconds_left(grant: Grant, now: datetime) -> int:
    """Whole seconds that a live grant still has; 0 once less than a second is left, so that it never runs over."""
    if grant.state is not GrantState.LIVE:
        return 0
    return max(0, math.floor((grant.ends_at - now).total_seconds()))


def ensure_ending(grant: Grant, *, now: datetime, end_asked: bool) -> Grant:
    """The grant as it stands after its end was looked at: ``ending`` if the end is reached or was asked for."""
    if grant.state is GrantState.LIVE and (end_asked or seconds_left(grant, now) == 0):
        return replace(grant, state=GrantState.ENDING, ends_at=min(grant.ends_at, now))
    return grant


def may_be_gone(grant: Grant, *, revoked_at: datetime, is_order_answered: bool) -> bool:
    """Is a receipt of this time final? An order that was never answered may still commit until ``provision_by``."""
    return not grant.is_ordered or is_order_answered or revoked_at > grant.provision_by


def revocation_attempt(grant: Grant, now: datetime) -> int:
    """Which attempt at a revocation is due: 0 for none yet."""
    return attempts_due(grant.ends_at, now)


def attempts_due(since: datetime, now: datetime) -> int:
    """Which attempt is due at something that should have been done at ``since``: 0 for none yet, then ever more seldom, at
    least hourly.

    The number depends on the lateness alone, so that whoever asks at the same time names the same execution.
    """
    late_minutes = (now - since).total_seconds() / 60
    if late_minutes < _PATIENCE_MINUTES:
        return 0
    doublings = int(math.log2(late_minutes / _PATIENCE_MINUTES)) + 1
    return doublings if late_minutes < _HOUR else _DOUBLINGS_IN_AN_HOUR + int(late_minutes // _HOUR)


def warns_at(grant: Grant, *, warning_seconds: int) -> datetime:
    """When the holder is told that the end is near: so long before it, but not before 80% of the time have passed.

    An extension counts as part of the time.
    """
    time = grant.ends_at - grant.delivered_at if grant.delivered_at else timedelta(seconds=grant.duration_seconds)
    warning = min(timedelta(seconds=warning_seconds), time / 5)
    return grant.ends_at - warning
