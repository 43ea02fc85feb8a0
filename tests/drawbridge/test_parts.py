"""The small parts: durations, the clipboard, signals, and what the API's answers become."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawbridge.clipboard import copy, find_program
from drawbridge.durations import describe_duration, parse_duration
from drawbridge.errors import ConfigurationError, InvalidInputError, UnreadableAnswerError
from drawbridge.requests import read_explanation, read_offers, read_request
from drawbridge.signals import EndedError, Endings

REQUEST = {
    "request_id": "R-ABC234",
    "location": "my-aurora-location",
    "level": "r",
    "state": "ready",
    "outcome": None,
    "explanation": "It is ready.",
    "asked_at": "2026-03-02T12:00:00Z",
    "extends": None,
    "ends_at": "2026-03-02T13:00:00Z",
}


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_durations_are_read_as_they_are_written(hours: int, minutes: int, seconds: int) -> None:
    """Whatever parts of them there are."""
    total = hours * 3600 + minutes * 60 + seconds
    written = "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if number)
    if total:
        assert total == parse_duration(written)


@pytest.mark.parametrize("text", ["", "h", "0m", "5", "-5m", "1.5h", "2h 1", "1d", "m5", "٣m", "9" * 400 + "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(InvalidInputError, match="Write it like 30m, 2h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "1 h"), (5400, "1 h 30 min"), (-5, "0 s")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    """Rounded to what matters."""
    assert text == describe_duration(seconds)


@pytest.mark.parametrize(
    ("platform", "display", "programs", "command"),
    [
        ("darwin", {}, ["pbcopy"], ["pbcopy"]),
        ("win32", {}, ["clip"], ["clip"]),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, ["wl-copy", "xclip"], ["wl-copy"]),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, ["xsel"], ["xsel", "--clipboard", "--input"]),
        ("linux", {"DISPLAY": ":0"}, ["wl-copy", "xclip", "xsel"], ["xclip", "-selection", "clipboard"]),
        ("linux", {}, ["wl-copy", "xclip", "clip.exe"], ["clip.exe"]),
    ],
)
def test_the_systems_own_program_takes_the_text(
    directory: Path, platform: str, display: dict[str, str], programs: list[str], command: list[str]
) -> None:
    """The one that belongs to the display there is."""
    for name in programs:
        (directory / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    found = find_program(platform, {"PATH": str(directory), **display})

    assert [str(directory / command[0]), *command[1:]] == list(found)


@pytest.mark.parametrize(
    ("platform", "display", "words"),
    [
        ("linux", {}, "this session has no display"),
        ("linux", {"DISPLAY": ":0"}, "Install wl-clipboard"),
        ("darwin", {}, "pbcopy is not on the PATH"),
    ],
)
def test_a_missing_clipboard_is_told(platform: str, display: dict[str, str], words: str) -> None:
    """With what to install, where that would help."""
    with pytest.raises(ConfigurationError, match=words):
        find_program(platform, {"PATH": "/nowhere", **display})


def test_a_clipboard_that_fails_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should paste what was there before."""
    (directory / "xclip").write_text("#!/bin/sh\ncat >/dev/null\nexit 1\n", encoding="utf-8")
    (directory / "xclip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.defpath}")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    with pytest.raises(ConfigurationError, match="ended with status 1"):
        copy("text")


@pytest.fixture
def endings() -> Iterator[Endings]:
    listening = Endings()
    with listening.installed():
        yield listening


def test_the_first_signal_raises_and_later_ones_do_not_disturb(endings: Endings) -> None:
    """The way out is taken once."""
    with pytest.raises(EndedError) as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)

    assert 143 == caught.value.exit_status


def test_ctrl_c_raises_each_time(endings: Endings) -> None:
    """A second one leaves at once."""
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_held_is_finished_first(endings: Endings) -> None:
    """An answer that arrives is not lost."""
    done: list[str] = []

    def answer() -> None:
        with endings.held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("answer")

    with pytest.raises(EndedError):
        answer()
    assert ["answer"] == done


def test_an_error_while_held_does_not_swallow_the_signal(endings: Endings) -> None:
    """Somebody wants the end, whatever else went wrong."""

    def fail() -> None:
        with endings.held():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ConfigurationError("no answer")

    with pytest.raises(EndedError):
        fail()


def test_signals_are_left_as_they_were() -> None:
    """For whoever comes after."""
    before = signal.getsignal(signal.SIGTERM)
    with Endings().installed():
        inside = signal.getsignal(signal.SIGTERM)

    assert before == signal.getsignal(signal.SIGTERM) != inside


def test_a_request_is_read() -> None:
    """With its instants as instants."""
    request = read_request(REQUEST)

    assert ("R-ABC234", 3600) == (
        request.request_id,
        (request.ends_at - request.asked_at).seconds if request.ends_at else 0,
    )


@pytest.mark.parametrize("key", [key for key in REQUEST if key != "extends"])
def test_a_request_without_a_field_cannot_be_read(key: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UnreadableAnswerError, match="Update the client"):
        read_request({name: value for name, value in REQUEST.items() if name != key})


@pytest.mark.parametrize(
    "change", [{"state": "asleep"}, {"outcome": "lost"}, {"asked_at": "yesterday"}, {"ends_at": "2026-03-02T13:00:00"}]
)
def test_a_value_that_is_not_known_cannot_be_read(change: dict[str, Any]) -> None:
    """A newer API may know states that this client does not."""
    with pytest.raises(UnreadableAnswerError):
        read_request(REQUEST | change)


@pytest.mark.parametrize(
    "answer", [{}, {"caller": None}, {"caller": {"name": "a", "is_machine": False}, "locations": [{}]}]
)
def test_offers_that_cannot_be_read_are_told(answer: dict[str, Any]) -> None:
    """Likewise."""
    with pytest.raises(UnreadableAnswerError):
        read_offers(answer)


def test_other_peoples_text_cannot_move_the_cursor() -> None:
    """Reasons and names are written by others."""
    rule = {
        "location": "a",
        "level": "r",
        "outcome": "denied",
        "sentence": "No\x1b[2J\r\nway",
        "approvers": ["c\x07arol"],
    }
    explained = read_explanation({"explanation": rule})

    assert ("No [2J  way", ("c arol",)) == (explained.sentence, explained.approvers)
