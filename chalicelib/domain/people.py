"""A person: a Slack user of one team, optionally with the AWS principals that their tunnels belong to."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody listed in the catalogue. ``name`` is the catalogue's and only for display; ``person_id`` is the identity."""

    name: str
    team: str
    slack: str
    aws: tuple[str, ...] = ()

    @property
    def person_id(self) -> str:
        """Team and user: e-mail addresses and names change hands, these do not."""
        return f"{self.team}/{self.slack}"

    def owns_principal(self, arn: str) -> bool:
        """Is this AWS principal one of the person's? Patterns hold ``*`` only as the catalogue wrote it."""
        return any(fnmatchcase(arn, pattern) for pattern in self.aws)
