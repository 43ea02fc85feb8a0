"""Who is at the other end of a connection on this machine. Linux alone says."""

import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

Address = tuple[str, int]
FindUid = Callable[[Address, Address], int | None]

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED = b"\0" * 10 + b"\xff\xff"
_ESTABLISHED = "01"  # of a connection that is closing, the kernel may name root


def peer_lookup() -> FindUid | None:
    """How to find the user of a TCP connection's other end on this system; None where there is no way."""
    return find_uid if sys.platform == "linux" and _TABLES[0].exists() else None


def find_uid(peer: Address, own: Address, tables: Iterable[Path] = _TABLES) -> int | None:
    """The user whose socket ``peer`` is connected to our ``own``, or None. A program may use IPv4 as IPv6 (Java does)."""
    for table in tables:
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            continue
        for is_mapped in (False, True):
            row = f": {_written(peer, is_mapped)} {_written(own, is_mapped)} {_ESTABLISHED} "
            _, found, rest = text.partition(row)  # not row by row: a machine may have a hundred thousand
            if found:
                return int(rest.split(maxsplit=4)[3])
    return None


def _written(address: Address, is_mapped: bool) -> str:
    """An address as the kernel writes it: words of four bytes as numbers of this machine, then the port."""
    packed = (_MAPPED if is_mapped else b"") + socket.inet_aton(address[0])
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{address[1]:04X}"
