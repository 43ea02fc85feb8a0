"""A person's shell with the client in it, Drawbridge's API as a fake, and a real database behind a tunnel."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from drawbridge.program import drawbridge
from local.postgres import PostgresServer, find_bin_directory
from tests.drawbridge.fake_api import FakeApi, fake_api
from tests.drawbridge.processes import processes
from tests.drawbridge_network.world import KEY, REGION, SECRET, World, database, make_world


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as running:
        yield running


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def shell(api: FakeApi, directory: Path) -> dict[str, str]:
    """The environment of a person's shell: a home, AWS keys, a plugin and programs."""
    programs = directory / "bin"
    programs.mkdir()
    for name in ("session-manager-plugin", "psql"):
        (programs / name).write_text("#!/bin/sh\necho 1.2.779.0\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    return {
        "HOME": str(directory),
        "PATH": f"{programs}:{os.defpath}",
        "LANG": "C.UTF-8",
        "DRAWBRIDGE_API": api.address,
        "DRAWBRIDGE_CONFIG": str(directory / "config.toml"),
        "AWS_CONFIG_FILE": str(directory / "aws-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
    }


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(shell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Type ``drawbridge …`` in that shell, in this process."""
    for name in list(os.environ):
        monkeypatch.delenv(name)

    def typed(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(drawbridge, list(arguments), env=shell | more, prog_name="drawbridge")

    return typed


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(shell: dict[str, str]) -> Iterator[Start]:
    """Start ``drawbridge …`` in that shell, and more, as a process of its own, which is ended with the test."""
    with processes() as begin:
        yield lambda arguments, environment=None: begin(arguments, shell | (environment or {}))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with database(find_bin_directory(os.environ)) as running:
        yield running


@pytest.fixture
def world(server: PostgresServer, api: FakeApi, shell: dict[str, str]) -> Iterator[World]:
    """A bastion and a database, to which the fake API's connections lead from that shell."""
    with make_world(server) as made:
        connection = made.connection
        api.connection = {
            "host": connection.host,
            "port": connection.port,
            "database": connection.database,
            "user": connection.user,
            "instance_id": connection.instance_id,
            "document_name": connection.document_name,
            "document_parameters": {name: list(texts) for name, texts in connection.document_parameters.items()},
            "certificate_bundle_url": made.bundle.as_uri(),
        }
        services = f"[default]\nservices = local\n[services local]\nssm =\n  endpoint_url = {made.endpoint_url}\n"
        Path(shell["AWS_CONFIG_FILE"]).write_text(services, encoding="utf-8")
        shell["PATH"] = f"{made.directory / 'bin'}:{shell['PATH']}"
        yield made
