"""The three permission levels and the words people use for them."""

from enum import StrEnum
from typing import Self


class PermissionLevel(StrEnum):
    """What a database user may do: read, write or operate."""

    READ = "r"
    WRITE = "w"
    OPERATE = "o"

    @property
    def word(self) -> str:
        """The level as people read it."""
        return _WORDS[self]

    @classmethod
    def find_by_word(cls, text: str) -> Self | None:
        """The level that a person wrote as a letter or a full word, in any case; None when it is neither."""
        lowered = text.lower()
        return next((level for level in cls if lowered in {level.value, level.word}), None)


_WORDS = {PermissionLevel.READ: "read", PermissionLevel.WRITE: "write", PermissionLevel.OPERATE: "operate"}
