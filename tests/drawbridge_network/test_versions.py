"""The same with each PostgreSQL that the wheel carries."""

from collections.abc import Iterator

import pytest

from drawbridge.listener import Listener
from local.postgres import find_bin_directory
from tests.drawbridge_network.world import USER, ask, database, make_world


@pytest.fixture(scope="module", params=[16, 18])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[int, Listener]]:
    binaries = find_bin_directory({}, request.param)
    with database(binaries) as server, make_world(server) as world, world.listening() as listener:
        yield request.param, listener


@pytest.mark.parametrize("protocol", ["3.0", "3.2", "latest"])
def test_each_version_speaks_each_protocol(served: tuple[int, Listener], protocol: str) -> None:
    """What client and server agree on passes through: a listener between them knows of neither."""
    major, listener = served

    assert major == int(ask(listener, "SHOW server_version_num", max_protocol_version=protocol)) // 10000
    assert USER == ask(listener, "SELECT session_user", max_protocol_version=protocol)
