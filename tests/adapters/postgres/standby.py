"""A real reader: a hot standby that streams from a server, and a door that leads to it by its own host name."""

import copy
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.iam_proxy import IamProxy, Stream
from local.postgres import ENVIRONMENT, SERVE_WHILE_PIPE_IS_OPEN, PostgresServer

# What belongs to the running server that is copied, or is made anew by the one that starts.
_NOT_COPIED = {"postmaster.pid", "postmaster.opts", "log"}
_EMPTY_IN_COPY = {
    "pg_wal",
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
}
_SETTINGS = """
hot_standby = on
# A statement here must not hold back for long what the writer says.
max_standby_streaming_delay = '500ms'
primary_conninfo = 'host={socket_directory} port=5432 user=rdsadmin application_name={name}'
"""


class Standby(PostgresServer):
    """A copy of a running server that goes on following it, which knows it by `name`. Needs no client program of PostgreSQL."""

    def __init__(self, followed: PostgresServer, name: str, **settings: str) -> None:
        binary = (followed.directory / "data" / "postmaster.opts").read_text().partition(" ")[0]
        super().__init__(Path(binary).parent)
        self.version = followed.version
        self._followed = followed
        self._settings = _SETTINGS.format(socket_directory=followed.socket_directory, name=name)
        self._settings += "".join(f"{setting} = '{value}'\n" for setting, value in settings.items())

    def start(self) -> None:
        """Returns when it answers."""
        with ExitStack() as undo:
            self.directory = self.socket_directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
            undo.callback(shutil.rmtree, self.directory)
            self.directory.chmod(0o755)
            self._copy_data()
            account: dict[str, Any] = {"env": ENVIRONMENT, "cwd": self.directory}
            if os.geteuid() == 0:
                owner = self._followed.directory.stat()
                account |= {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
                for path in (self.directory, *self.directory.rglob("*")):
                    os.chown(path, owner.st_uid, owner.st_gid)
            command = ["/bin/sh", "-c", SERVE_WHILE_PIPE_IS_OPEN, str(self._bin_directory / "postgres")]
            started = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **account)
            self._process = undo.enter_context(started)
            undo.callback(self._process.kill)
            undo.callback(self._process.communicate, timeout=15)
            self._wait_until_ready(time.monotonic() + 30)
            self._undo = undo.pop_all()

    def promote(self) -> None:
        """Follow no longer: from now on it is a server of its own, with settings that need a start to change."""
        with closing(self.connect(autocommit=True)) as session:
            session.execute("SELECT pg_promote()")

    def _copy_data(self) -> None:
        start, stop = "pg_backup_start", "pg_backup_stop()"
        if self.version < 15:
            start, stop = "pg_start_backup", "pg_stop_backup(false)"
        with closing(self._followed.connect(autocommit=True)) as session:
            more = ", false" if self.version < 15 else ""
            session.execute(f"SELECT {start}('standby', true{more})".encode())
            data = self.directory / "data"
            shutil.copytree(self._followed.directory / "data", data, ignore=_not_copied, copy_function=_copy_if_there)
            row = session.execute(f"SELECT labelfile FROM {stop}".encode()).fetchone()
        (data / "backup_label").write_text(row[0] if row else "")
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(self._settings)


def _not_copied(directory: str, names: list[str]) -> set[str]:
    if Path(directory).name in _EMPTY_IN_COPY:
        return set(names)
    return _NOT_COPIED.intersection(names)


def _copy_if_there(source: str, target: str) -> None:
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        Path(target).unlink(missing_ok=True)  # dropped since it was listed; the log of changes says so too


@dataclass(eq=False)
class ClusterProxy(IamProxy):
    """The door of a cluster whose endpoints are different servers; the name in the TLS handshake says which is meant."""

    _others: dict[ssl.SSLContext, PostgresServer] = field(default_factory=dict, init=False)

    def add_server(self, host: str, server: PostgresServer) -> None:
        """Serves `host`, also while running, from another server."""
        self.add_host(host)
        self._others[self._hosts[host]] = server

    def remove_server(self, host: str) -> None:
        del self._others[self._hosts.pop(host)]

    async def _serve(self, *client: *Stream) -> None:
        tls = client[1].get_extra_info("ssl_object")
        server = self._others.get(tls.context) if tls else None
        door = self
        if server:
            door = copy.copy(self)
            door.server, door._database = server, server.socket_directory / ".s.PGSQL.5432"
        await IamProxy._serve(door, *client)
