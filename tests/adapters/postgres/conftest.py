"""A cluster for each file of tests, and a location of its own for each test."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import Cluster, a_location, an_order, numbers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="db-") as directory,
        PostgresServer(find_bin_directory(os.environ)) as server,
    ):
        cluster = Cluster(server, Path(directory))
        cluster.proxy.start()
        try:
            yield cluster
        finally:
            cluster.proxy.stop()


@pytest.fixture
def admin(cluster: Cluster) -> PostgresDatabaseAdmin:
    return cluster.admin()


@pytest.fixture
def location() -> Location:
    """Every test has a location of its own, hence groups and people of its own."""
    return a_location(f"orders-{next(numbers)}")


@pytest.fixture
def order(cluster: Cluster, location: Location) -> ProvisioningOrder:
    return an_order(cluster, location)
