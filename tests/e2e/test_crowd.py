"""`python -m benchmarks.load` as a process, with the smallest crowd of which one is approved and one is denied."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 120


def test_two_people_are_through_with_nothing_lost_or_left_over() -> None:
    """One has had access and is refused afterwards, one has been denied; the row for the page says so."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "2", "--seconds", "1", "--access-seconds", "8"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "1 logged in and were refused after their end" in ended.stdout
    assert "\n| 2 | 1 | 1 | 1 | 0 | " in ended.stdout
