"""The three permission levels, the words people use for them, and what each lets people do.

Stated here once: the README, Slack and the tests against PostgreSQL take it from here.
"""

from enum import StrEnum
from typing import Self


class Ability(StrEnum):
    """Something that a level lets people do or keeps from them, in words that follow "may"."""

    READ_TABLES = "read tables and views"
    CHANGE_ROWS = "insert, update, delete rows"
    MAKE_SCHEMAS = "make schemas with objects of their own"
    TAKE_OVER = "change what earlier writers left"
    ADD_EXTENSIONS = "add trusted extensions"
    SEE_QUERIES = "see every database's queries and who blocks whom"
    END_CONNECTIONS = "end connections here by pg_kill_connection"
    END_OTHER_CONNECTIONS = "end connections of superusers, Drawbridge, other databases"
    READ_OPEN_SIBLINGS = "read databases open to everybody"
    READ_CATALOGS = "read catalogs: password hashes, row samples"
    ENTER_CLOSED_SIBLINGS = "enter any other database"
    MAKE_TEMPORARY = "make temporary tables and large objects, notify, take advisory locks"
    SEE_HIDDEN_ROWS = "see rows hidden by row level security"
    CHANGE_SCHEMAS = "truncate, alter or add application tables"
    CREATE_IN_PUBLIC = "create in public (PostgreSQL 14: all may)"
    MANAGE_ROLES = "make roles or databases, gain rights"
    REACH_SERVER = "run programs or read files"
    ADD_CODE = "add other extensions or event triggers"
    CHANGE_LOG = "change what is logged, replicate"


class PermissionLevel(StrEnum):
    """What a database user may do: read, write or operate."""

    READ = "r"
    WRITE = "w"
    OPERATE = "o"

    @property
    def word(self) -> str:
        """The level as people read it."""
        return _WORDS[self]

    @property
    def summary(self) -> str:
        """The level in one line, for a choice among the three: at most 75 characters, as Slack asks of an option."""
        return _SUMMARIES[self]

    @property
    def can(self) -> tuple[str, ...]:
        """What the level lets people do, in words that follow "may"."""
        return tuple(ability.value for ability in Ability if self.has(ability))

    @property
    def cannot(self) -> tuple[str, ...]:
        """What the level does not let people do, in words that follow "may not"."""
        return tuple(ability.value for ability in Ability if not self.has(ability))

    def has(self, ability: Ability) -> bool:
        """Does the level let people do this?"""
        return self.value in _HOLDERS.get(ability, "")

    @classmethod
    def find_by_word(cls, text: str) -> Self | None:
        """The level that a person wrote as a letter or a full word, in any case; None when it is neither."""
        lowered = text.lower()
        return next((level for level in cls if lowered in {level.value, level.word}), None)


GUARD_RAILS = (
    "Time limits, and read-only for read and operate, are guard rails and no walls:"
    " people may switch them off for themselves."
)
"""What must be said wherever the abilities are: PostgreSQL lets a role change these settings of its own."""

_WORDS = {PermissionLevel.READ: "read", PermissionLevel.WRITE: "write", PermissionLevel.OPERATE: "operate"}
_SUMMARIES = {
    PermissionLevel.READ: "Read tables and views of the database, and change none of their rows",
    PermissionLevel.WRITE: "Also change rows, and make schemas with objects of your own",
    PermissionLevel.OPERATE: "See running queries and what blocks them, end connections; read no tables",
}
# An ability that is not listed is nobody's.
_HOLDERS = {
    Ability.READ_TABLES: "rw",
    Ability.CHANGE_ROWS: "w",
    Ability.MAKE_SCHEMAS: "w",
    Ability.TAKE_OVER: "w",
    Ability.ADD_EXTENSIONS: "w",
    Ability.SEE_QUERIES: "o",
    Ability.END_CONNECTIONS: "o",
    Ability.READ_OPEN_SIBLINGS: "rw",
    Ability.READ_CATALOGS: "rw",
    Ability.MAKE_TEMPORARY: "rwo",
}
