"""A person: a Slack user of one team, optionally with the AWS principals that their tunnels belong to; or a machine, which
no Slack user stands for.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

_MACHINES = "machine"
"""In place of a team. No Slack id is written in small letters, so that no machine has a person's identity."""


def find_machine_name(person_id: str) -> str | None:
    """The name of the machine with this identity; None for a person's."""
    team, _, name = person_id.rpartition("/")
    return name if team == _MACHINES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody listed in the catalogue. ``name`` is the catalogue's and only for display; ``person_id`` is the identity."""

    name: str
    team: str
    slack: str
    aws: tuple[str, ...] = ()
    is_machine: bool = False
    """A pipeline: it asks and holds access as people do, by rules of its own, decides nothing and is told nothing in Slack."""

    @classmethod
    def machine(cls, name: str) -> Self:
        """The machine of this name."""
        return cls(name=name, team=_MACHINES, slack=name, is_machine=True)

    @property
    def kind(self) -> str:
        """What texts call it."""
        return "pipeline" if self.is_machine else "person"

    @property
    def person_id(self) -> str:
        """Team and user: e-mail addresses and names change hands, these do not."""
        return f"{self.team}/{self.slack}"

    def owns_principal(self, arn: str) -> bool:
        """Is this AWS principal one of the person's? Patterns hold ``*`` only as the catalogue wrote it."""
        return any(fnmatchcase(arn, pattern) for pattern in self.aws)
