"""A cluster for each file of tests, and a location of its own for each test."""

import os
from collections.abc import Iterator

import pytest

from chalicelib.domain.locations import Location
from chalicelib.domain.orders import ProvisioningOrder
from chalicelib.postgres.database_admin import PostgresDatabaseAdmin
from local.postgres import PostgresServer, find_bin_directory
from tests.adapters.postgres.cluster import Cluster, a_location, an_order, numbers, running_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with PostgresServer(find_bin_directory(os.environ)) as server, running_cluster(server) as cluster:
        yield cluster


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
