"""The databases behind a catalogue's locations, and the names that a template has for them and for what belongs to a name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.domain.locations import DatabaseKind, Location

_START = re.compile(r"-([a-z0-9]|(?=-))")


def camel_case(name: str) -> str:
    """A catalogue's name as a part of a logical id, where only letters and digits may stand. No two names share one.

    ``orders-prod`` is ``OrdersProd``. X escapes what has no capital: ``a-1`` is ``AX1``, ``x-ray`` is ``XXRay``.
    """
    return _START.sub(lambda found: _capital(found[1]), f"-{name}")


def _capital(start: str | None) -> str:
    if not start:
        return "Xh"  # a hyphen before a hyphen
    return f"X{start.upper()}" if start.isdigit() or start == "x" else start.upper()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Database:
    """A cluster or instance. The properties are the names of the parameters that say what RDS knows of it."""

    kind: DatabaseKind
    identifier: str

    @property
    def name(self) -> str:
        """Its part of a logical id."""
        return camel_case(f"{self.kind}-{self.identifier}")

    @property
    def security_group(self) -> str:
        """The group that is to let our own in."""
        return f"Database{self.name}SecurityGroup"

    @property
    def port(self) -> str:
        """Where it listens."""
        return f"Database{self.name}Port"

    @property
    def host(self) -> str:
        """The name of its writer's endpoint."""
        return f"Database{self.name}Host"

    @property
    def resource_id(self) -> str:
        """What rds-db ARNs call it: never its identifier."""
        return f"Database{self.name}ResourceId"


def database_of(location: Location) -> Database:
    """The database behind a location."""
    return Database(kind=location.kind, identifier=location.identifier)


def databases_of(locations: Iterable[Location]) -> list[Database]:
    """The databases behind locations, each once, in a lasting order."""
    return sorted({database_of(location) for location in locations})
