"""One database for all, and a world around it for each test."""

import os
from collections.abc import Iterator

import pytest

from local.postgres import PostgresServer, find_bin_directory
from tests.drawbridge_network.world import World, database, make_world


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with database(find_bin_directory(os.environ)) as server:
        yield server


@pytest.fixture
def world(server: PostgresServer) -> Iterator[World]:
    with make_world(server) as world:
        yield world
