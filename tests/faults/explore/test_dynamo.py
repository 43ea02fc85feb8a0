"""The computed DynamoDB is held to what the ledgers promise, and to moto's answers to random writes."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from chalicelib.aws.table import Table, Write, Written
from chalicelib.domain.errors import LedgerUnavailableError
from tests.adapters import test_ledger_contract as contract
from tests.adapters.test_ledger_contract import (
    TestAudit,
    TestClosingRequests,
    TestDeciding,
    TestExtensions,
    TestFilingRequests,
    TestGrants,
    TestHistory,
    TestKeeping,
    TestLeases,
    TestPreferences,
    TestReplacingBastions,
    TestReviews,
    TestWaiting,
)
from tests.faults.explore.dynamo import ModelDynamo

__all__ = [
    "TestAudit",
    "TestClosingRequests",
    "TestDeciding",
    "TestExtensions",
    "TestFilingRequests",
    "TestGrants",
    "TestHistory",
    "TestKeeping",
    "TestLeases",
    "TestPreferences",
    "TestReplacingBastions",
    "TestReviews",
    "TestWaiting",
]

PLACES = [("A", "1"), ("A", "2"), ("B", "1")]
NAMES = ["state", "leases", "count", "ends_at", "watch"]
CONDITIONS = [
    None,
    "attribute_exists(pk)",
    "attribute_not_exists(pk)",
    "attribute_exists(pk) AND NOT #state IN (:old, :new)",
    "attribute_not_exists(pk) OR (#state = :old AND #count <> :one)",
    "#state = :old AND size(#leases) = :one",
    "attribute_exists(#leases.#request)",
    "#leases.#request = :old",
    "attribute_not_exists(#count) OR #count < :one",
    "NOT (#state = :old OR #count >= :one)",
    "size(#leases) < :two AND #state <= :new",
]
UPDATES = [
    None,
    "SET #state = :old",
    "SET #state = :new, #watch = :old, #ends_at = :new REMOVE #count",
    "SET #leases.#request = :old REMOVE #state",
    "REMOVE #leases.#request",
    "SET #leases = :map",
    "ADD #count :one",
    "REMOVE #leases, #watch",
]
VALUES: dict[str, Any] = {"old": "live", "new": "ending", "one": 1, "two": 2, "map": {"R-OTHER2": "later"}}


@pytest.fixture
def dynamo() -> ModelDynamo:
    return ModelDynamo()


@pytest.fixture
def ledgers(dynamo: ModelDynamo) -> contract.Ledgers:
    return contract.dynamo_ledgers(Table(dynamo, contract.new_table(dynamo)))


@pytest.fixture
def moto() -> Iterator[Any]:
    with mock_aws():
        yield contract.new_client()


def a_write(chance: random.Random) -> Write:
    """Some write, with exactly the names and values of which it speaks."""
    update, condition = chance.choice(UPDATES), chance.choice(CONDITIONS)
    item = None
    if update is None:
        leases = {f"R-{number}": "live" for number in range(chance.randrange(3))}
        of_all = {"state": "live", "leases": leases, "count": chance.randrange(3), "ends_at": "live", "watch": "live"}
        item = {name: of_all[name] for name in chance.sample(NAMES, chance.randrange(len(NAMES) + 1))}
    spoken = f"{update} {condition}"
    return Write(
        key=chance.choice(PLACES),
        item=item,
        update=update,
        condition=condition,
        names={"request": chance.choice(["R-0", "R-1"])} if "#request" in spoken else None,
        values={name: value for name, value in VALUES.items() if f":{name}" in spoken},
    )


def outcome(table: Table, write: Write) -> Any:
    """What came of a write, errors too, by their code."""
    try:
        return table.write(write)
    except LedgerUnavailableError as error:
        cause: Any = error.__cause__
        return cause.response["Error"]["Code"]
    except ValueError:
        # moto breaks where an attribute that is asked for its size is not there; the condition just does not hold.
        return Written(is_done=False, item=table.find(*write.key))


@pytest.mark.parametrize("seed", range(4))
def test_random_writes_come_to_the_same_as_in_moto(moto: Any, dynamo: ModelDynamo, seed: int) -> None:
    """Done or not, the item in the way, the item afterwards, the index and what is refused: all the same."""
    chance = random.Random(seed)
    pairs = [(client, Table(client, contract.new_table(client))) for client in (moto, dynamo)]
    for _ in range(120):
        write = a_write(chance)

        first, second = (outcome(table, write) for _, table in pairs)

        assert first == second, write
    assert pairs[0][1].watched("live", dict) == pairs[1][1].watched("live", dict)
    assert [pairs[0][1].query("A")] == [pairs[1][1].query("A")]


def test_what_the_ledger_never_says_is_refused(dynamo: ModelDynamo) -> None:
    """A new kind of expression must be added here, with moto's answer beside it, before anything is believed of it."""
    name = contract.new_table(dynamo)

    with pytest.raises(NotImplementedError):
        Table(dynamo, name).write(Write(key=("A", "1"), update="DELETE #state :old", values={"old": "x"}))
    with pytest.raises(NotImplementedError):
        Table(dynamo, name).write(
            Write(key=("A", "1"), update="SET #state = if_not_exists(#state, :old)", values={"old": "x"})
        )
