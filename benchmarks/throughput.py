"""How many asks and revocations are served in a time, by how many come at once, and how long sessions outlive a grant's end.

`python -m benchmarks.throughput`. The endpoint stands on the stage of slack_acks, the revocations on the cluster of
provision_and_revoke. Ratios within one run are what counts.
"""

import os
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

import psycopg

from benchmarks.provision_and_revoke import Product, at_once, log_in, orders
from benchmarks.slack_acks import Stage, a_command, percentile, rush
from chalicelib.domain.orders import ProvisioningOrder
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import DATABASES, Cluster, running_cluster

ASKS, ASKING_AT_ONCE = 100, (1, 10, 50)
REVOCATIONS = {1: 20, 20: 100}
"""In each row, by how many at once."""
SESSIONS = 2
"""Of each person."""
QUERY = "SELECT count(*) FROM shop.orders"


def main() -> None:
    """Measure and print tables for benchmarks/README.md."""
    print_asks()
    print_revocations()


def print_asks() -> None:
    """Requests typed, until all of them are answered, beside a route that only acknowledges."""
    print("| asked at once | asks in a time | the bare route's |\n|--:|--:|--:|")
    with Stage() as stage:
        for is_ours in (True, False):
            rush(stage, a_command, size=1, is_ours=is_ours)  # a cold start is another question
        one = 0.0
        for size in ASKING_AT_ONCE:
            rates = [
                statistics.median(
                    size / max(rush(stage, a_command, size=size, is_ours=is_ours).acks) for _ in range(ASKS // size)
                )
                for is_ours in (True, False)
            ]
            one = one or rates[0]
            print(f"| {size} | {rates[0] / one:.2f} | {rates[1] / one:.1f} |", flush=True)
    print(f"\nOne ask is answered in {1000 / one:.0f} ms, the median of {ASKS}.\n")


@dataclass(kw_only=True)
class Revoked:
    """What the revocations of one row came to, in seconds."""

    rates: list[float] = field(default_factory=list)
    """Revocations in a second, of each group."""
    gone: list[float] = field(default_factory=list)
    """From the end of a grant until the last of its sessions was gone."""
    done: list[float] = field(default_factory=list)
    """Until the receipt."""


def print_revocations() -> None:
    """Each person holds sessions; idle, or at work as fast as the server lets them."""
    seen: dict[tuple[int, bool], Revoked] = {}
    with (
        PostgresServer(find_bin_directory(os.environ)) as server,  # noqa: TID251 - says which PostgreSQL to measure
        running_cluster(server) as cluster,
    ):
        product = Product(cluster)
        product.provision(*orders(cluster, 1))  # what a database needs once
        for size, number in REVOCATIONS.items():
            for is_busy in (False, True):
                revoked = seen[size, is_busy] = Revoked()
                for _ in range(number // size):
                    revoke_group(cluster, product, orders(cluster, size), revoked, is_busy=is_busy)
        print(f"PostgreSQL {cluster.version}\n")
    one = seen[1, False]
    rate, gone = statistics.median(one.rates), statistics.median(one.gone)
    print(
        "| revoked at once | revoked | sessions | revocations in a time | last session gone p50 | p95 | max | receipt p50 |"
    )
    print("|--:|--:|---|--:|--:|--:|--:|--:|")
    for (size, is_busy), revoked in seen.items():
        times = [
            statistics.median(revoked.gone),
            percentile(revoked.gone, 95),
            max(revoked.gone),
            statistics.median(revoked.done),
        ]
        columns = [f"{statistics.median(revoked.rates) / rate:.2f}", *(f"{each / gone:.1f}" for each in times)]
        print(f"| {size} | {REVOCATIONS[size]} | {'at work' if is_busy else 'idle'} | {' | '.join(columns)} |")
    print(f"\nTime 1 is {gone * 1000:.0f} ms; each person has {SESSIONS} sessions.")


def revoke_group(
    cluster: Cluster, product: Product, group: Sequence[ProvisioningOrder], revoked: Revoked, *, is_busy: bool
) -> None:
    """Provision, log in, revoke all at the same moment, and see when the sessions' own ends notice.

    RuntimeError if a revocation failed.
    """
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    gone: dict[str, list[float]] = {product.user(order): [] for order in group}

    def revoke(order: ProvisioningOrder) -> None:
        began[product.user(order)] = time.monotonic()
        product.revoke(order)
        ended[product.user(order)] = time.monotonic()

    with ExitStack() as stack:
        threads = []
        for order in group:
            product.provision(order)
            for _ in range(SESSIONS):
                session = stack.enter_context(log_in(cluster, product.user(order), DATABASES[0]))
                work = partial(use, session, gone[product.user(order)], is_busy=is_busy)
                threads.append(threading.Thread(target=work))
        for thread in threads:
            thread.start()
        taken = at_once([partial(revoke, order) for order in group])
        for thread in threads:
            thread.join()
    if taken.failures or set(ended) != set(gone):
        raise RuntimeError(f"Revocations failed: {taken.failures}")
    revoked.rates.append(len(group) / taken.seconds)
    revoked.gone += [max(gone[user]) - at for user, at in began.items()]
    revoked.done += [ended[user] - at for user, at in began.items()]


def use(session: psycopg.Connection, gone: list[float], *, is_busy: bool) -> None:
    """Work until the session is gone, or wait for it to go."""
    with suppress(psycopg.Error):
        while is_busy:
            session.execute(QUERY)
        for _ in session.notifies():  # nobody notifies: it only waits
            pass
    gone.append(time.monotonic())


if __name__ == "__main__":
    main()
