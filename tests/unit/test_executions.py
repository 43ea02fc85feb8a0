"""Task tokens: read as the definition passes them, and ordered by their turns."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.executions import TaskToken, read_task_token
from chalicelib.domain.payloads import PayloadError
from tests.factories import FRIDAY_NOON, a_task_token

PASSED: dict[str, Any] = {"task_token": "token-1", "entered_at": "2026-11-20T12:00:00.000Z", "retries": 0}
TURNS = st.builds(
    a_task_token,
    entered_at=st.integers(0, 10**10).map(lambda count: FRIDAY_NOON + timedelta(milliseconds=count)),
    retries=st.integers(0, 45),
)


def test_what_the_definition_passes_is_read() -> None:
    """The context object's instants are ISO 8601."""
    assert a_task_token("token-1") == read_task_token(PASSED, now=FRIDAY_NOON + timedelta(hours=1))


def test_a_token_of_the_release_before_counts_as_entered_now() -> None:
    """Its definition passed nothing else."""
    now = FRIDAY_NOON + timedelta(hours=1)

    assert a_task_token("token-1", entered_at=now) == read_task_token({"task_token": "token-1"}, now=now)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"task_token": None}, "task_token"),
        ({"entered_at": "noon"}, "entered_at"),
        ({"entered_at": None}, "entered_at"),
        ({"retries": "1"}, "retries"),
        ({"retries": True}, "retries"),
    ],
)
def test_what_is_misshapen_is_refused_by_name(changes: dict[str, Any], path: str) -> None:
    """A token without its turn could be replaced by an earlier one."""
    with pytest.raises(PayloadError, match=path):
        read_task_token(PASSED | changes, now=FRIDAY_NOON)


def test_instants_are_ordered_however_many_digits_they_come_with() -> None:
    """As text, a whole second would come after its own milliseconds."""
    whole, later = (
        read_task_token(PASSED | {"entered_at": f"2026-11-20T12:00:{second}Z"}, now=FRIDAY_NOON)
        for second in ("07", "07.001")
    )

    assert whole.turn < later.turn


@given(TURNS, TURNS)
def test_turns_compare_as_their_entering_and_then_their_retries_do(one: TaskToken, other: TaskToken) -> None:
    """The ledger compares text."""
    assert ((one.entered_at, one.retries) < (other.entered_at, other.retries)) == (one.turn < other.turn)


def test_the_text_is_shown_nowhere() -> None:
    """Whoever holds it may answer."""
    assert "secret" not in repr(a_task_token("secret"))
