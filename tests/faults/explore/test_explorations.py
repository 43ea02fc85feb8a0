"""Bastions and grants in every order, as far as there is time for it here; and races that are planted, each found."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.table import Table, Write
from tests.faults.explore import scenarios
from tests.faults.explore.__main__ import report
from tests.faults.explore.bastion_model import BastionModel
from tests.faults.explore.grant_model import GrantModel
from tests.faults.explore.search import Exploration, Model, explore

MOST = 4_000
LEAST_SCHEDULES = 10_000
MODELS: list[Model] = [*scenarios.all_models()]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name.replace(" ", "-"))
def test_nothing_goes_wrong_in_any_order(model: Model) -> None:
    """Holders have their bastion, what nobody holds is stopped, and each grant ends once and for good."""
    found = explore(model, most=MOST)

    assert [] == [(violation.what, violation.schedule) for violation in found.violations]
    assert LEAST_SCHEDULES <= found.schedules


class Careless:
    """The table, by which some writes are changed before they are made."""

    def __init__(self, table: Table, change: Callable[[Write], Write]) -> None:
        self._table, self._change = table, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def write(self, write: Write) -> Any:
        return self._table.write(self._change(write))


def careless(kind: Any, change: Callable[[Write], Write]) -> Any:
    """A ledger of the kind whose writes are changed."""

    class CarelessLedger(kind):  # type: ignore[misc]  # of any kind
        def __init__(self, table: Any) -> None:
            super().__init__(Careless(table, change))

    return CarelessLedger


def without(write: Write, condition: str, *, instead: str = "") -> Write:
    """The write with a part of its condition left out, and the values that only this part speaks of."""
    assert write.condition is not None
    left = write.condition.replace(condition, instead)
    spoken = set(re.findall(r":(\w+)", f"{write.update} {left}"))
    values = {name: value for name, value in (write.values or {}).items() if name in spoken}
    return replace(write, condition=left or None, values=values)


def lease_while_stopping(write: Write) -> Write:
    if ":stopping" not in (write.condition or ""):
        return write
    return without(write, " AND NOT #state IN (:stopping, :terminating)")


def stop_under_leases(write: Write) -> Write:
    if ":seen_state" not in (write.condition or "") or ":zero" not in (write.condition or ""):
        return write
    return without(write, " AND size(#leases) = :zero")


def expire_whatever_stands(write: Write) -> Write:
    if write.condition != "#leases.#request = :seen":
        return write
    return without(write, write.condition, instead="attribute_exists(#leases.#request)")


def repeat_a_stop_unseen(write: Write) -> Write:
    if ":seen_generation" not in (write.condition or ""):
        return write
    return without(write, " AND #stop_called_at = :seen_stop_called_at")


def end_whatever_stands(write: Write) -> Write:
    if ":seen_request" not in (write.condition or ""):
        return write
    return without(write, str(write.condition))


def extend_whatever_end(write: Write) -> Write:
    if ":seen_end" not in (write.condition or ""):
        return write
    return without(write, " AND #ends_at = :seen_end")


def bastion_with(name: str, change: Callable[[Write], Write], **changes: Any) -> Exploration:
    scenario = next(each for each in scenarios.BASTIONS if each.name == name)
    model = BastionModel(replace(scenario, ledger=careless(DynamoBastionLedger, change), **changes))
    return explore(model, most=100_000, enough=1)


def grant_with(name: str, change: Callable[[Write], Write]) -> Exploration:
    scenario = next(each for each in scenarios.GRANTS if each.name == name)
    return explore(GrantModel(replace(scenario, grants=careless(DynamoGrantLedger, change))), most=100_000, enough=1)


class TestPlanted:
    """Each guard of the ledgers taken away: the search finds what it is good for."""

    def test_a_lease_taken_while_the_bastion_is_stopping(self) -> None:
        """The stop that was decided before lands under it."""
        found = bastion_with("an idle bastion, housekeeping twice, a stop landing late", lease_while_stopping)

        assert {"stop_instances under a lease", "the bastion of a holder does not run"} & set(found.kinds)

    def test_a_stop_that_asks_for_no_lease(self) -> None:
        """Somebody came after housekeeping looked."""
        found = bastion_with("an idle bastion, housekeeping, two people", stop_under_leases)

        assert {"stop_instances under a lease", "the bastion of a holder does not run"} & set(found.kinds)

    def test_a_lease_that_is_renewed_while_it_is_expired(self) -> None:
        """Housekeeping removes what it has not seen, and stops the bastion for want of a lease."""
        name = "a warm-up's lease runs out while its request renews it"
        found = bastion_with(name, expire_whatever_stands, turns=1)

        assert {"the bastion of a holder does not run"} == set(found.kinds)

    def test_a_stop_repeated_by_somebody_who_has_not_seen_the_last_one(self) -> None:
        """It is about to land when the bastion is believed stopped by the time of the one before."""
        found = bastion_with("a stopping bastion, housekeeping twice", repeat_a_stop_unseen)

        assert {"stop_instances under a lease"} == set(found.kinds)

    def test_an_end_written_over_whatever_stands(self) -> None:
        """An extension brings back what has ended, or the end undoes an extension that was confirmed."""
        found = grant_with("an extension meets the end", end_whatever_stands)

        assert {"a grant that was ending is live again", "the end of a grant moved after it had come"} & set(
            found.kinds
        )

    def test_an_extension_written_without_the_end_that_was_seen(self) -> None:
        """The holder is told of more time, and the access has ended."""
        found = grant_with("an extension meets the end", extend_whatever_end)

        assert {"an extension was told otherwise than it went"} == set(found.kinds)

    def test_what_is_found_is_reported_with_its_schedule(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And fails the run."""
        scenario = next(each for each in scenarios.BASTIONS if each.name == "an idle bastion, housekeeping, two people")
        model = BastionModel(replace(scenario, ledger=careless(DynamoBastionLedger, stop_under_leases)))

        assert 1 == report([model], most=5_000, seed=1)
        assert "   2 " in capsys.readouterr().out
