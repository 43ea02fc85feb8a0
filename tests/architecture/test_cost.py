"""The page of costs is what the benchmark prints, the answer to `cost` uses its numbers, and its counts fit what is deployed."""

import json
import re

import pytest

from benchmarks import monthly_cost as bench
from chalicelib.domain.costs import HOUSEKEEPING_MONTH, REQUEST

README = (bench.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_benchmark_prints() -> None:
    """After a change of a price, a count, a memory or a default: python -m benchmarks.monthly_cost --write."""
    page = bench.PAGE.read_text(encoding="utf-8")

    assert bench.with_tables(page, bench.tables()) == page


def test_the_answer_to_cost_uses_the_same_numbers() -> None:
    """A request and a quiet month cost what the benchmark reckons, rounded."""
    assert (round(bench.request_cost(), 4), round(bench.housekeeping_cost(), 2)) == (REQUEST, HOUSEKEEPING_MONTH)


def test_the_readme_states_the_reckoned_sums() -> None:
    """Each sum of the README's section stands beside what it is the sum of."""
    section = " ".join(README.partition("## What it costs")[2].partition("\n## ")[0].split())
    two_hours, workdays, always_on = bench.PATTERNS[0], bench.PATTERNS[2], bench.PATTERNS[3]
    expected = [
        bench.month_cost(0, bench.NEVER),
        bench.month_cost(200, two_hours),
        bench.month_cost(200, workdays),
        bench.month_cost(200, always_on),
        bench.month_cost(200, two_hours, kept_seconds=3600),
    ]

    assert [f"${dollars:.2f}" for dollars in expected] == re.findall(r"\*\*(\$[\d.]+)\*\*", section)


def test_a_quiet_month_keeps_to_its_goal() -> None:
    """Nobody asks, and a NAT gateway is there."""
    assert bench.GOAL_IDLE >= bench.month_cost(0, bench.NEVER)


@pytest.mark.parametrize("hours", bench.PATTERNS[:3], ids=lambda hours: hours.name)
def test_200_requests_keep_to_the_promise(hours: bench.Hours) -> None:
    """As long as the bastion does not run day and night."""
    assert bench.PROMISE >= bench.month_cost(200, hours)


def test_the_disk_is_there_until_the_instance_is_terminated() -> None:
    """Every night is shorter than a day; a weekend is not."""
    workdays = bench.Hours(name="", a_day=8, days_a_week=5, days_a_month=5)

    assert [5 * 8, 5 * 8 + 5, 5 * 8 + 4 * 16 + 24] == [workdays.disk(hours * 3600) for hours in (0, 1, 24)]


def test_every_counted_state_and_function_is_there() -> None:
    """The counts are of this definition: no state of a life is gone, and every function has its memory."""
    text = json.dumps(bench.DEFINITION)
    states = {state for life in bench.COUNTS["lives"].values() for state in life["states"]}

    assert set() == {state for state in states if f'"{state}": {{' not in text}
    assert all(bench.memory(name) >= 128 for name in bench.COUNTS["functions"])


def test_the_mix_is_of_the_counted_lives() -> None:
    """And it is a whole."""
    assert set(bench.COUNTS["lives"]) == set(bench.MIX)
    assert pytest.approx(1) == sum(bench.MIX.values())
