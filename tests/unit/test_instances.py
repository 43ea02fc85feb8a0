"""Addresses that are really those of a location's cluster or instance."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from chalicelib.domain.errors import DatabaseNotFoundError
from chalicelib.domain.instances import DatabaseInstances, Endpoint, require_own_endpoints
from chalicelib.domain.locations import DatabaseKind
from tests.factories import INSTANCES, READER, WRITER

INSTANCE = Endpoint(host="orders-db.abc123.eu-west-1.rds.amazonaws.com", port=5432)


def require(
    instances: DatabaseInstances, kind: DatabaseKind = DatabaseKind.CLUSTER, name: str = "orders-cluster"
) -> None:
    require_own_endpoints(instances, kind=kind, identifier=name, region="eu-west-1")


def test_the_writer_comes_first() -> None:
    """Work starts where it can be written."""
    assert INSTANCES.all() == (WRITER, READER)


def test_the_endpoints_that_rds_gives_are_accepted() -> None:
    """A cluster with its readers, and a single instance."""
    require(INSTANCES)
    require(DatabaseInstances(writer=INSTANCE), DatabaseKind.INSTANCE, "orders-db")


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example.com",
        "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com.attacker.example.com",
        "attacker.example.com/orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com",
        "orders-cluster.cluster-abc123.eu-west-2.rds.amazonaws.com",
        "other-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com",
        "xorders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com",
        "orders-cluster.abc123.eu-west-1.rds.amazonaws.com",
        "orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com\n",
        "orders-clusterXcluster-abc123.eu-west-1.rds.amazonaws.com",
        "orders-cluster.cluster-abc123.eu-west-1XrdsYamazonaws.com",
        "10.0.0.1",
        "",
    ],
)
def test_an_order_cannot_send_the_login_elsewhere(host: str) -> None:
    """The control plane's own login goes to the location's cluster in its region and to no other address."""
    with pytest.raises(DatabaseNotFoundError, match="nothing was done"):
        require(replace(INSTANCES, writer=Endpoint(host=host, port=5432)))


@pytest.mark.parametrize("host", ["attacker.example.com", "orders-2.abc123.us-east-1.rds.amazonaws.com", ""])
def test_a_reader_elsewhere_is_refused_too(host: str) -> None:
    """Revocation ends sessions on every instance that it is given."""
    with pytest.raises(DatabaseNotFoundError):
        require(replace(INSTANCES, readers=(READER, Endpoint(host=host, port=5432))))


@pytest.mark.parametrize(
    ("kind", "resource_id", "is_accepted"),
    [
        (DatabaseKind.CLUSTER, "cluster-ABCDEFGHIJ012345", True),
        (DatabaseKind.INSTANCE, "db-ABCDEFGHIJ012345", True),
        (DatabaseKind.CLUSTER, None, True),
        (DatabaseKind.CLUSTER, "db-ABCDEFGHIJ012345", False),
        (DatabaseKind.INSTANCE, "cluster-ABCDEFGHIJ012345", False),
        (DatabaseKind.INSTANCE, "", False),
        (DatabaseKind.INSTANCE, "db-ABC'; DROP", False),
        (DatabaseKind.INSTANCE, "db-" + "A" * 61, False),
    ],
)
def test_a_resource_id_is_one_that_rds_gives_to_the_kind(
    kind: DatabaseKind, resource_id: str | None, is_accepted: bool
) -> None:
    """It is written into the database, so it is looked at first; an order of an older release has none."""
    is_cluster = kind is DatabaseKind.CLUSTER
    instances = replace(INSTANCES if is_cluster else DatabaseInstances(writer=INSTANCE), resource_id=resource_id)
    with nullcontext() if is_accepted else pytest.raises(DatabaseNotFoundError, match="is no resource id"):
        require(instances, kind, "orders-cluster" if is_cluster else "orders-db")


def test_a_cluster_is_no_instance() -> None:
    """The shape of the address depends on what the catalogue names."""
    with pytest.raises(DatabaseNotFoundError):
        require(INSTANCES, DatabaseKind.INSTANCE)
