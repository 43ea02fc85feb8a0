"""Whose connection it is, by the kernel's own tables."""

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from drawbridge.peers import find_uid, peer_lookup

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="no other system says")
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "tcp", tmp_path / "tcp6"


def row(local: str, remote: str, state: str, uid: int) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 12345 1 0000\n"


@needs_linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_own_connection_is_found(family: socket.AddressFamily) -> None:
    """Also when the program took an IPv6 socket for an IPv4 address."""
    with ExitStack() as undo:
        server = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = undo.enter_context(socket.socket(family))
        prefix = "::ffff:" if family == socket.AF_INET6 else ""
        client.connect((f"{prefix}127.0.0.1", server.getsockname()[1]))
        accepted, peer = server.accept()
        undo.enter_context(accepted)

        assert os.getuid() == find_uid(peer, accepted.getsockname())


@needs_linux
def test_a_connection_that_is_gone_is_nobodys() -> None:
    """The kernel names root for what is left of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            peer = client.getsockname()
            accepted, _ = server.accept()
        accepted.close()

        assert None is find_uid(peer, server.getsockname())


@pytest.mark.skipif(sys.byteorder != "little", reason="the table below is of such a machine")
@pytest.mark.parametrize(
    ("line", "uid"),
    [
        (row("0100007F:9C40", "0100007F:DDD5", "01", 1001), 1001),
        (row("0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:DDD5", "01", 1002), 1002),
        (row("0100007F:DDD5", "0100007F:9C40", "01", 1001), None),
        (row("0100007F:9C40", "0100007F:DDD6", "01", 1001), None),
        (row("0200007F:9C40", "0100007F:DDD5", "01", 1001), None),
        (row("0100007F:9C40", "0100007F:DDD5", "06", 0), None),
        ("", None),
    ],
)
def test_only_the_same_connection_counts(tables: tuple[Path, Path], line: str, uid: int | None) -> None:
    """From its end, not from ours, and only while it is established."""
    tables[0].write_text(HEAD + line, encoding="ascii")

    assert uid == find_uid(("127.0.0.1", 40000), ("127.0.0.1", 56789), tables)


def test_other_systems_do_not_say() -> None:
    """Where there is no such table a secret is asked instead."""
    assert (sys.platform == "linux") == (peer_lookup() is not None)
