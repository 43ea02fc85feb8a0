"""What is told while a request is waited for, and when the waiting is over; in virtual time."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from drawbridge.errors import DeadlineError, DrawbridgeError, RefusedError, ServiceError, UnreadableAnswerError
from drawbridge.progress import Progress
from drawbridge.requests import AccessRequest, Outcome, State
from drawbridge.waiting import wait_until_over, wait_until_ready


def a_request(state: State = State.WAITING, outcome: Outcome | None = None, explanation: str = "") -> AccessRequest:
    return AccessRequest(
        request_id="R-ABC234",
        location="my-aurora-location",
        level="w",
        state=state,
        outcome=outcome,
        explanation=explanation or f"It is {state}.",
        asked_at=datetime(2026, 3, 2, 12, 0, tzinfo=UTC),
        extends=None,
        ends_at=None,
        answer={},
    )


READY = a_request(State.READY)


class Waiting:
    """Virtual seconds, and an API that answers each look with the next of ``answers``; the last one for ever."""

    def __init__(self, *answers: AccessRequest | DrawbridgeError, is_terminal: bool = False) -> None:
        self.seconds, self.looks, self.asked = 0.0, 0, 0
        self._answers = answers
        self.stream = io.StringIO()
        self._progress = Progress(self.stream, is_terminal=is_terminal, clock=lambda: self.seconds)

    def watch(self) -> AccessRequest:
        answer = self._answers[min(self.looks, len(self._answers) - 1)]
        self.looks += 1
        if isinstance(answer, DrawbridgeError):
            raise answer
        return answer

    def until_ready(self, request: AccessRequest, deadline: float | None = None) -> AccessRequest:
        return wait_until_ready(
            request,
            watch=self.watch,
            progress=self._progress,
            deadline=deadline,
            on_waiting=self._count,
            **self._time(),
        )

    def until_over(self, request: AccessRequest, deadline: float) -> AccessRequest:
        return wait_until_over(request, watch=self.watch, progress=self._progress, deadline=deadline, **self._time())

    def _time(self) -> dict[str, Callable[..., Any]]:
        return {"clock": lambda: self.seconds, "pause": self._pass}

    def _pass(self, seconds: float) -> None:
        self.seconds += seconds

    def _count(self, request: AccessRequest) -> None:
        self.asked += 1


def test_what_is_ready_is_not_waited_for() -> None:
    """Held access is there at once."""
    waiting = Waiting(READY)

    assert READY is waiting.until_ready(READY)
    assert (0, "") == (waiting.looks, waiting.stream.getvalue())


def test_each_change_is_one_line() -> None:
    """And the same twice is said once."""
    preparing = a_request(State.PREPARING)
    waiting = Waiting(a_request(), a_request(), preparing, READY)
    waiting.until_ready(a_request(State.PREPARING))

    assert ["It is preparing.", "It is waiting.", "It is preparing."] == [
        line.removeprefix("R-ABC234: ") for line in waiting.stream.getvalue().splitlines()
    ]
    assert 1 == waiting.asked


def test_people_are_looked_for_ever_more_rarely() -> None:
    """An hour of waiting is hundreds of calls, not thousands, and approval is noticed within seconds."""
    waiting = Waiting(*[a_request()] * 700, READY)
    waiting.until_ready(a_request(), deadline=3600)

    assert 5.0 >= waiting.seconds / waiting.looks > 4.9


def test_what_machines_do_is_noticed_within_a_second() -> None:
    """The prompt should not be late because nobody looked."""
    waiting = Waiting(*[a_request(State.PREPARING)] * 60, READY)
    waiting.until_ready(a_request(State.PREPARING))

    assert waiting.seconds / waiting.looks <= 1.0


def test_the_deadline_is_kept_to() -> None:
    """To the second, with what it was waiting for."""
    waiting = Waiting(a_request())

    with pytest.raises(DeadlineError, match="R-ABC234 was not ready within 60 s: It is waiting"):
        waiting.until_ready(a_request(), deadline=59.5)
    assert waiting.seconds == pytest.approx(59.5)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome.DENIED, RefusedError),
        (Outcome.CANCELLED, RefusedError),
        (Outcome.FINISHED, RefusedError),
        (Outcome.TIMED_OUT, DeadlineError),
        (Outcome.FAILED, ServiceError),
    ],
)
def test_an_end_is_told_by_its_outcome(outcome: Outcome, kind: type[DrawbridgeError]) -> None:
    """What is only ending has no outcome yet, so that is waited for."""
    waiting = Waiting(a_request(State.ENDING), a_request(State.ENDED, outcome, "It was so."))

    with pytest.raises(kind, match=r"R-ABC234: It was so\.") as caught:
        waiting.until_ready(a_request())
    assert kind is type(caught.value)


def test_a_network_that_is_gone_for_minutes_loses_nothing() -> None:
    """A laptop moves from one network to another; the request is still there."""
    lost = ServiceError("Drawbridge's API is not reached.")
    waiting = Waiting(a_request(), *[lost] * 40, READY)

    assert READY is waiting.until_ready(a_request())
    assert 1 == waiting.stream.getvalue().count("R-ABC234: Drawbridge's API is not reached.")


def test_a_network_that_stays_away_is_told() -> None:
    """After five minutes."""
    waiting = Waiting(ServiceError("Drawbridge's API is not reached."))

    with pytest.raises(ServiceError):
        waiting.until_ready(a_request())
    assert 300 < waiting.seconds < 311


def test_an_answer_that_cannot_be_read_is_told_at_once() -> None:
    """Waiting would not make it readable."""
    waiting = Waiting(UnreadableAnswerError("no"))

    with pytest.raises(UnreadableAnswerError):
        waiting.until_ready(a_request())
    assert 1 == waiting.looks


def test_an_end_is_waited_for_until_its_deadline() -> None:
    """Then it is told as it stands."""
    waiting = Waiting(a_request(State.ENDING))

    assert State.ENDING is waiting.until_over(a_request(State.READY), deadline=10).state
    assert 10 == waiting.seconds


def test_a_terminal_shows_one_line_with_the_time_that_passes() -> None:
    """Cleared when the waiting is over."""
    waiting = Waiting(*[a_request()] * 3, READY, is_terminal=True)
    waiting.until_ready(a_request())
    drawn = waiting.stream.getvalue()

    assert 0 == drawn.count("\n")
    assert drawn.endswith("\r\x1b[2K")


def test_a_long_sentence_is_cut_to_the_terminals_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps could not be redrawn."""
    monkeypatch.setenv("COLUMNS", "40")
    waiting = Waiting(READY, is_terminal=True)
    waiting.until_ready(a_request(explanation="It waits for " + "somebody " * 20))

    assert all(len(line.removeprefix("[2K").rstrip("\r")) < 40 for line in waiting.stream.getvalue().split("\x1b")[1:])


def test_a_closed_terminal_hinders_nothing() -> None:
    """What is being done must still be ended properly."""
    waiting = Waiting(a_request(), READY, is_terminal=True)
    waiting.stream.close()

    assert READY is waiting.until_ready(a_request())
