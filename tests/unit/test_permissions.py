"""The levels and the words for them."""

import pytest

from chalicelib.domain.permissions import PermissionLevel


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("r", PermissionLevel.READ),
        ("read", PermissionLevel.READ),
        ("W", PermissionLevel.WRITE),
        ("Write", PermissionLevel.WRITE),
        ("o", PermissionLevel.OPERATE),
        ("OPERATE", PermissionLevel.OPERATE),
        ("rw", None),
        ("", None),
        ("admin", None),
    ],
)
def test_a_level_is_found_by_its_letter_or_word(text: str, level: PermissionLevel | None) -> None:
    """In any case, and never by part of a word."""
    assert level is PermissionLevel.find_by_word(text)


def test_every_level_has_a_word_that_finds_it() -> None:
    """What people read is what they may type."""
    assert list(PermissionLevel) == [PermissionLevel.find_by_word(level.word) for level in PermissionLevel]
