"""The levels, the words for them and what they let people do."""

import pytest

from chalicelib.domain.permissions import Ability, PermissionLevel


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


OPTION_CHARACTERS = 75
"""Slack's limit for the description of a choice."""
SECTION_CHARACTERS = 600
"""What a list may take of a message, so that two of them and their headings stay far below Slack's 3,000 for a section."""


@pytest.mark.parametrize("level", PermissionLevel)
def test_what_a_level_can_and_cannot_is_all_there_is(level: PermissionLevel) -> None:
    """Every ability is on one of the two lists, in the order of all, and on one only."""
    abilities = [ability.value for ability in Ability]

    assert abilities == sorted([*level.can, *level.cannot], key=abilities.index)
    assert level.can == tuple(ability.value for ability in Ability if level.has(ability))


@pytest.mark.parametrize("level", PermissionLevel)
def test_levels_fit_where_people_read_them(level: PermissionLevel) -> None:
    """One line beside a choice, and each list with its bullets in a small part of a message."""
    lists = ["\n".join(f"• {words}" for words in listed) for listed in (level.can, level.cannot)]

    assert OPTION_CHARACTERS >= len(level.summary) > 0
    assert SECTION_CHARACTERS >= max(map(len, lists))


def test_reading_is_less_than_writing() -> None:
    """Whoever writes reads; operating is another thing and shows no rows."""
    assert set(PermissionLevel.READ.can) < set(PermissionLevel.WRITE.can)
    assert "read tables and views" in PermissionLevel.OPERATE.cannot


@pytest.mark.parametrize("words", [*Ability, *(level.summary for level in PermissionLevel)])
def test_words_are_plain_and_promise_no_guard_rail(words: str) -> None:
    """They stand in tables and messages as they are, and speak of no limit that people can switch off."""
    assert set() == set(words) & set("|*`<>&\n")
    assert "timeout" not in words
    assert "read-only" not in words
