"""A location: a named database that people ask for, and the rules of its levels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel

EVERYBODY = "*"
MAIN_PROVISIONER = "main"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = re.compile(r"(?P<first>\w{3})(?:-(?P<last>\w{3}))? (?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+)")


class DatabaseKind(StrEnum):
    """What RDS calls the thing behind a location."""

    CLUSTER = "cluster"
    INSTANCE = "instance"


class TokenSource(StrEnum):
    """Where a person's database token is made: in a Slack modal, or on their own machine."""

    MODAL = "modal"
    LOCAL = "local"


class SessionDocument(StrEnum):
    """Which Session document opens the tunnel: the location's own, or the one that AWS owns."""

    LOCATION = "location"
    AWS = "aws"


class Isolation(StrEnum):
    """Whether a location is refused while PUBLIC may connect to sibling databases."""

    STRICT = "strict"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Weekdays and times in one zone, such as ``Mon-Fri 07:00-19:00 Europe/Berlin``."""

    text: str
    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read the catalogue's spelling. Raises ValueError with what is wrong."""
        match = _HOURS.fullmatch(text)
        if match is None:
            raise ValueError("write it like 'Mon-Fri 07:00-19:00 Europe/Berlin'")
        try:
            first = _DAYS.index(match["first"])
            last = _DAYS.index(match["last"] or match["first"])
            zone = ZoneInfo(match["zone"])
            start, end = time.fromisoformat(match["start"]), time.fromisoformat(match["end"])
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"{error}; write it like 'Mon-Fri 07:00-19:00 Europe/Berlin'") from error
        if start >= end:
            raise ValueError("the hours must start before they end, on one day")
        days = frozenset((first + offset) % 7 for offset in range((last - first) % 7 + 1))
        return cls(text=text, days=days, start=start, end=end, zone=zone)

    def contain(self, moment: datetime) -> bool:
        """Does this instant fall within the hours?"""
        there = moment.astimezone(self.zone)
        return there.weekday() in self.days and self.start <= there.time() < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """Who may take a level at once, without waiting, and by when it must be reviewed."""

    who: frozenset[str]
    review_within_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRule:
    """The catalogue's rule for one level of one location. People are catalogue names; ``*`` is everybody listed."""

    who: frozenset[str]
    automatic: bool
    approvers: frozenset[str]
    needed: int
    cap_seconds: int
    hours: Hours | None = None
    break_glass: BreakGlass | None = None
    approver_groups: frozenset[str] = frozenset()
    """Slack user groups whose listed members may approve as well."""

    def admits(self, name: str) -> bool:
        """May the person of this catalogue name ask for the level at all?"""
        return EVERYBODY in self.who or name in self.who


@dataclass(frozen=True, slots=True, kw_only=True)
class BastionGroup:
    """One isolation group of locations, which may share an instance."""

    name: str
    subnets: tuple[str, ...]
    vpc: str | None = None
    """None for the one that its subnets are in."""
    provisioner: str = MAIN_PROVISIONER
    """Which database functions reach its locations' databases: those of the main stack, or of a spoke in another VPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A named database, as the catalogue states it."""

    name: str
    kind: DatabaseKind
    identifier: str
    database: str
    region: str
    environment: str
    bastion: BastionGroup
    port: int
    isolation: Isolation
    also_readable: frozenset[str]
    token: TokenSource
    document: SessionDocument
    warm_up: bool
    max_people: int
    levels: Mapping[PermissionLevel, LevelRule]
    """People's rules. No machine is judged by them, whoever they let in."""
    machines: Mapping[str, Mapping[PermissionLevel, LevelRule]] = field(default_factory=dict)
    """Each machine's own rules, by its name."""

    def find_rules(self, person: Person) -> Mapping[PermissionLevel, LevelRule]:
        """The rules that a person or a machine is judged by; none for a machine that the location does not name."""
        return self.machines.get(person.name, {}) if person.is_machine else self.levels

    @property
    def all_rules(self) -> tuple[LevelRule, ...]:
        """Everybody's, each machine's too."""
        return tuple(rule for rules in (self.levels, *self.machines.values()) for rule in rules.values())

    def find_rule(self, level: PermissionLevel, person: Person) -> LevelRule | None:
        """The rule of one level, if it is offered to people, or to this machine."""
        return self.find_rules(person).get(level)
