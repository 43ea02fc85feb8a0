"""The audit trail as a chain: whoever changes, deletes, moves or adds an entry is found, and the first bad place is named."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.audit import (
    GIVING,
    AuditEntry,
    AuditEvent,
    AuditLine,
    Fault,
    Finding,
    LineKind,
    entry_hash,
    is_same_occurrence,
    next_entry,
    verify_chain,
)
from tests.factories import REQUEST_ID
from tests.strategies import RULE

Entries = list[AuditEntry]
Lines = list[AuditLine]

_FACTS = st.dictionaries(
    st.text(max_size=8), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12), max_size=4
)
_CONTENTS = st.fixed_dictionaries(
    {
        "event": st.sampled_from([event.value for event in AuditEvent]),
        "at": st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "Z"),
        "facts": _FACTS,
    }
)
# No trail holds the same happening twice.
_TRAILS = st.lists(_CONTENTS, min_size=1, max_size=7, unique_by=repr).map(lambda contents: written(contents))  # noqa: PLW0108  written is defined below


def written(contents: Iterable[dict[str, Any]], *, trail: str = REQUEST_ID) -> Entries:
    """A trail with these entries, as it should be."""
    entries: Entries = []
    for content in contents:
        entries.append(next_entry(trail, entries[-1] if entries else None, content))
    return entries


def told(entries: Entries) -> Lines:
    """The log of a trail whose functions all came to their end."""
    return [line(entry, kind) for entry in entries for kind in LineKind]


def line(entry: AuditEntry, kind: LineKind, **changes: Any) -> AuditLine:
    return replace(AuditLine(trail=entry.trail, number=entry.number, hash=entry.hash, kind=kind), **changes)


def three() -> Entries:
    return written({"event": str(event), "at": "noon", "facts": {}} for event in ("asked", "decided", "granted"))


def faults(entries: Entries, lines: Lines) -> list[tuple[int, Fault]]:
    return [(finding.number, finding.fault) for finding in verify_chain(entries, lines)]


def rehashed(entry: AuditEntry, **content: Any) -> AuditEntry:
    """The entry saying something else, with the hash for it."""
    changed = {**entry.content, **content}
    return replace(entry, content=changed, hash=entry_hash(entry.trail, entry.number, changed))


def rechained(entries: Entries, start: int) -> Entries:
    """Every hash from a place on made anew, as somebody would who knows how."""
    chained = entries[:start]
    for entry in entries[start:]:
        content = {name: value for name, value in entry.content.items() if name != "previous"}
        chained.append(next_entry(entry.trail, chained[-1] if chained else None, content))
    return chained


class TestWhatIsAsItWasWritten:
    @RULE
    @given(_TRAILS)
    def test_a_trail_that_nobody_touched_is_clean(self, entries: Entries) -> None:
        """Whatever it says, and in whatever order it is read."""
        assert [] == verify_chain(entries, told(entries)) == verify_chain(entries[::-1], told(entries)[::-1])

    def test_nothing_is_clean(self) -> None:
        """A ledger without a trail."""
        assert [] == verify_chain([], [])

    @RULE
    @given(_TRAILS)
    def test_a_function_that_died_before_it_confirmed_leaves_a_clean_trail(self, entries: Entries) -> None:
        """The announcing line knows the entry; that the next one was announced proves it stood."""
        announced = [line(entry, LineKind.ANNOUNCED) for entry in entries]

        assert [] == verify_chain(entries, announced)

    def test_whoever_lost_a_place_to_a_faster_one_has_done_nothing_wrong(self) -> None:
        """Two functions announced the third entry; one of them then took the fourth place."""
        entries = three()
        slower = AuditLine(trail=REQUEST_ID, number=3, hash="lost", kind=LineKind.ANNOUNCED)

        assert [] == verify_chain(entries, [*told(entries), slower])

    def test_a_line_told_twice_is_one(self) -> None:
        """A repeated step confirms again."""
        entries = three()

        assert [] == verify_chain(entries, told(entries) * 2)

    def test_a_line_younger_than_the_reading_proves_nothing_yet(self) -> None:
        """Its entry came after the ledger was read."""
        entries = three()
        young = [replace(each, is_settled=False) for each in told(entries)[-2:]]

        assert [] == verify_chain(entries[:2], told(entries)[:-2] + young)


class TestDoubts:
    def test_an_entry_that_was_announced_and_never_written_is_a_doubt(self) -> None:
        """Its function died between the two, or the ledger did not take it."""
        entries = three()
        lines = [*told(entries[:2]), line(entries[2], LineKind.ANNOUNCED)]

        assert [(3, Fault.NEVER_WRITTEN)] == faults(entries[:2], lines)
        assert Fault.NEVER_WRITTEN.is_doubt

    def test_an_end_that_the_log_was_not_told_says_so_itself(self) -> None:
        """Ends go on when the log does not answer."""
        entries = three()
        unannounced = next_entry(
            REQUEST_ID, entries[-1], {"event": "ending", "at": "noon", "facts": {}, "unannounced": True}
        )

        assert [(4, Fault.UNANNOUNCED)] == faults([*entries, unannounced], told(entries))
        assert Fault.UNANNOUNCED.is_doubt

    @pytest.mark.parametrize("event", sorted(GIVING))
    def test_what_gives_access_is_never_unannounced(self, event: AuditEvent) -> None:
        """So an entry that says so was not written by Drawbridge."""
        entries = three()
        forged = next_entry(REQUEST_ID, entries[-1], {"event": str(event), "unannounced": True})

        assert [(4, Fault.UNKNOWN)] == faults([*entries, forged], told(entries))


class TestTampering:
    @RULE
    @given(_TRAILS, st.data())
    def test_a_changed_field_is_found_where_it_was_changed(self, entries: Entries, data: st.DataObject) -> None:
        """Each field, one that was added and one that was taken away."""
        index = data.draw(st.integers(0, len(entries) - 1))
        entry = entries[index]
        content = dict(entry.content)
        match data.draw(st.sampled_from(["event", "at", "facts", "previous", "hash", "added", "gone", "number"])):
            case "hash":
                changed = replace(entry, hash=entry.hash[::-1] + "0")
            case "number":
                changed = replace(entry, number=entry.number, trail=entry.trail, content={**content, "number": 1})
            case "added":
                changed = replace(entry, content={**content, "more": None})
            case "gone":
                changed = replace(entry, content={name: content[name] for name in ("event", "at", "facts")})
            case field:
                other = data.draw(_FACTS.filter(lambda value: value != content[field]))
                changed = replace(entry, content={**content, field: other})

        first, *_ = verify_chain([*entries[:index], changed, *entries[index + 1 :]], told(entries))
        assert Finding(trail=REQUEST_ID, number=index + 1, fault=Fault.CHANGED) == first

    @RULE
    @given(_TRAILS, st.data(), st.booleans())
    def test_a_changed_entry_with_the_right_hash_is_found(
        self, entries: Entries, data: st.DataObject, is_whole: bool
    ) -> None:
        """By the log, even where the whole chain after it was made anew."""
        index = data.draw(st.integers(0, len(entries) - 1))
        forged = [*entries[:index], rehashed(entries[index], facts={"forged": True}), *entries[index + 1 :]]
        if is_whole:
            forged = rechained(forged, index)

        assert (index + 1, Fault.REPLACED) == faults(forged, told(entries))[0]

    @RULE
    @given(_TRAILS, st.data())
    def test_a_deleted_entry_is_missed_at_its_place(self, entries: Entries, data: st.DataObject) -> None:
        """In the middle and at either end."""
        index = data.draw(st.integers(0, len(entries) - 1))

        assert (index + 1, Fault.MISSING) == faults(entries[:index] + entries[index + 1 :], told(entries))[0]

    @RULE
    @given(_TRAILS, st.data())
    def test_a_cut_trail_is_missed_from_the_cut_on(self, entries: Entries, data: st.DataObject) -> None:
        """Down to nothing at all, which only the log remembers."""
        length = data.draw(st.integers(0, len(entries) - 1))

        assert [(length + 1, Fault.MISSING)] == faults(entries[:length], told(entries))

    @RULE
    @given(_TRAILS, st.data())
    def test_an_entry_that_was_deleted_and_closed_over_is_found(self, entries: Entries, data: st.DataObject) -> None:
        """Those after it moved up, with hashes that fit."""
        index = data.draw(st.integers(0, len(entries) - 1))

        number, fault = faults(rechained(entries[:index] + entries[index + 1 :], index), told(entries))[0]
        assert index + 1 == number
        assert fault in {Fault.REPLACED, Fault.MISSING}

    @RULE
    @given(_TRAILS.filter(lambda entries: len(entries) > 1), st.data(), st.booleans())
    def test_entries_that_changed_places_are_found_at_the_first(
        self, entries: Entries, data: st.DataObject, is_whole: bool
    ) -> None:
        """With or without hashes that fit."""
        first, second = sorted(data.draw(st.sets(st.integers(0, len(entries) - 1), min_size=2, max_size=2)))
        moved = list(entries)
        moved[first] = replace(entries[second], number=first + 1)
        moved[second] = replace(entries[first], number=second + 1)
        expected = Fault.CHANGED
        if is_whole:
            contents = [{**entry.content, "n": entry.number} for entry in entries]
            entries = written({k: v for k, v in each.items() if k != "previous"} for each in contents)
            moved = list(entries)
            moved[first], moved[second] = entries[second], entries[first]
            moved = rechained(moved, 0)
            expected = Fault.REPLACED

        assert (first + 1, expected) == faults(moved, told(entries))[0]

    @RULE
    @given(_TRAILS, _CONTENTS, st.data())
    def test_an_entry_that_was_put_in_is_found_at_its_place(
        self, entries: Entries, content: dict[str, Any], data: st.DataObject
    ) -> None:
        """With a chain that fits, in the middle or at the end."""
        content["facts"] = {"put": "in"}
        index = data.draw(st.integers(0, len(entries)))
        put = rechained([*entries[:index], next_entry(REQUEST_ID, None, content), *entries[index:]], index)

        expected = Fault.UNKNOWN if index == len(entries) else Fault.REPLACED
        assert (index + 1, expected) == faults(put, told(entries))[0]

    @RULE
    @given(_TRAILS, st.data())
    def test_a_number_that_stands_twice_is_found(self, entries: Entries, data: st.DataObject) -> None:
        """As under sort keys that read as the same number."""
        entry = entries[data.draw(st.integers(0, len(entries) - 1))]

        assert (entry.number, Fault.REPEATED) == faults([*entries, entry], told(entries))[0]

    def test_something_that_is_no_entry_is_found(self) -> None:
        """Under a sort key that is no number."""
        entries = three()

        assert (0, Fault.UNKNOWN) == faults([*entries, replace(entries[0], number=0)], told(entries))[0]

    def test_a_line_that_no_entry_matches_is_found(self) -> None:
        """The log says that a fourth one stood."""
        entries = three()
        fourth = AuditLine(trail=REQUEST_ID, number=4, hash="fourth", kind=LineKind.WRITTEN)

        assert [(4, Fault.MISSING)] == faults(entries, [*told(entries), fourth])

    def test_a_line_proves_every_entry_before_it(self) -> None:
        """Whoever announced the fourth had seen the third; its own confirmation was lost."""
        entries = three()
        lines = [line(entry, LineKind.ANNOUNCED) for entry in entries]
        fourth = AuditLine(trail=REQUEST_ID, number=4, hash="fourth", kind=LineKind.ANNOUNCED)

        assert [(3, Fault.MISSING)] == faults(entries[:2], [*lines, fourth])

    def test_an_entry_whose_predecessor_was_swapped_is_out_of_place(self) -> None:
        """Both are known to the log, as when somebody brings back an announced one that lost its place."""
        entries = three()
        lost = rehashed(entries[1], facts={"lost": True})
        lines = [line(each, LineKind.ANNOUNCED) for each in (*entries, lost)]

        assert [(3, Fault.OUT_OF_PLACE)] == faults([entries[0], lost, entries[2]], lines)

    @pytest.mark.parametrize("value", [b"bytes", {1, 2}, 1.5, object()], ids=["bytes", "set", "float", "anything"])
    def test_a_value_that_no_entry_holds_is_a_change_and_no_crash(self, value: object) -> None:
        """Somebody may have written anything."""
        entries = three()
        changed = replace(entries[1], content={**entries[1].content, "facts": value})

        assert [(2, Fault.CHANGED)] == faults([entries[0], changed, entries[2]], told(entries))


class TestOccurrences:
    @pytest.mark.parametrize(
        ("changes", "is_same"),
        [({}, True), ({"at": "later"}, True), ({"facts": {"view": "V2"}}, False), ({"event": "asked"}, False)],
    )
    def test_the_same_event_with_the_same_facts_is_the_same_happening(
        self, changes: dict[str, Any], is_same: bool
    ) -> None:
        """A step that is repeated tells it at another time."""
        content = {"event": "token made", "at": "noon", "facts": {"view": "V1"}}

        assert is_same == is_same_occurrence(next_entry(REQUEST_ID, None, content), content | changes)

    def test_the_hash_is_that_of_earlier_releases(self) -> None:
        """Trails that stand must stay verifiable."""
        content = {"event": "asked", "at": "2026-11-20T12:00:00.000Z", "facts": {"ä": [1, None]}, "previous": ""}

        assert entry_hash("R-ABC234", 1, content).startswith(_EARLIER_HASH)


_EARLIER_HASH = "463563e89eaf5223"
