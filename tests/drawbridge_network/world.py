"""A bastion, a database behind it and a person's machine in front of it, for the client's network half."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

import local.session_manager_plugin
from drawbridge.connection import Connection
from drawbridge.listener import Listener
from drawbridge.tokens import make_token
from drawbridge.tunnel import Tunnel
from local.iam_proxy import CertificateAuthority, Credentials, IamProxy
from local.postgres import PostgresServer, create_rds_roles
from local.ssm.documents import AWS_DOCUMENT, own_document
from local.ssm.server import Instance, SessionManager
from tests.serving import SessionManagerFront
from tests.waiting import WAITING_SECONDS

BASTION = "i-0123456789abcdef0"
REGION = "eu-west-1"
HOST = f"my-aurora.cluster-abc123.{REGION}.rds.amazonaws.com"
OWNER = "arn:aws:sts::123456789012:assumed-role/Developer/alice@example.com"
KEY, SECRET = "AKIALOCALALICE000000", "local-person-secret"
USER, DATABASE = "jit_0123abcd_r_alice", "depotpostgres"
OWN_DOCUMENT = "drawbridge-example-depot"
_PLUGIN = Path(local.session_manager_plugin.__file__)


class Clock:
    """Tells the time, and later times when it was told to move on."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def move(self, by: timedelta) -> None:
        self._ahead += by


def sign(connection: Connection, at: datetime) -> str:
    """A token as botocore makes it, at another time than now."""
    query = f"Action=connect&DBUser={connection.user}"
    request = AWSRequest(method="GET", url=f"https://{connection.host}:{connection.port}/?{query}")
    signer: Any = SigV4QueryAuth(Keys(KEY, SECRET), "rds-db", connection.region, 900)
    request.context["timestamp"] = f"{at:%Y%m%dT%H%M%SZ}"
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.url).removeprefix("https://")


@dataclass
class World:
    """All of it; what a test changes, it changes for itself alone."""

    server: PostgresServer
    manager: SessionManager
    front: SessionManagerFront
    proxy: IamProxy
    instances: dict[str, Instance]
    directory: Path
    bundle: Path
    connection: Connection
    clock: Clock
    may_connect: dict[str, bool]
    said: list[str] = field(default_factory=list)

    @property
    def endpoint_url(self) -> str:
        return self.front.url

    @property
    def environment(self) -> dict[str, str]:
        """What the plugin finds on this machine."""
        return {"PATH": f"{self.directory / 'bin'}:{os.defpath}"}

    @property
    def session(self) -> boto3.Session:
        return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)

    def install_plugin(self, source: str | None = None) -> Path:
        programs = self.directory / "bin"
        programs.mkdir(exist_ok=True)
        plugin = programs / "session-manager-plugin"
        plugin.write_text(f"#!{sys.executable}\n{source or _PLUGIN.read_text(encoding='utf-8')}", encoding="utf-8")
        plugin.chmod(0o755)
        return plugin

    def tunnel(self, **changes: Any) -> Tunnel:
        options: dict[str, Any] = {"session": self.session, "tell": self.said.append, "endpoint_url": self.endpoint_url}
        connection = changes.pop("connection", self.connection)
        return Tunnel(connection, **options | {"environment": self.environment} | changes)

    def listener(self, tunnel: Tunnel, **changes: Any) -> Listener:
        connection = changes.pop("connection", self.connection)
        options: dict[str, Any] = {
            "port": None,
            "tunnel": tunnel,
            "make_token": lambda: make_token(self.session, connection),
            "bundle": self.bundle,
            "tell": self.said.append,
            "now": self.clock,
        }
        return Listener(connection, **options | changes)

    @contextmanager
    def listening(self, **changes: Any) -> Iterator[Listener]:
        with self.tunnel() as tunnel, self.listener(tunnel, **changes) as listener:
            yield listener

    def statuses(self) -> list[str]:
        """Of all sessions that ever were."""
        found = [self.manager.handle("DescribeSessions", {"State": state}, KEY) for state in ("Active", "History")]
        return [str(record["Status"]) for answer in found for record in answer["Sessions"]]

    def break_tunnel(self) -> None:
        """As when access to the bastion ends, or the service loses the session."""
        for record in self.manager.handle("DescribeSessions", {"State": "Active"}, KEY)["Sessions"]:
            self.manager.handle("TerminateSession", {"SessionId": record["SessionId"]}, KEY)

    def backends(self) -> int:
        """The person's sessions in the database."""
        with self.server.connect() as rdsadmin:
            row = rdsadmin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [USER]).fetchone()
        return int(row[0]) if row else 0


def connect(listener: Listener, **changes: Any) -> psycopg.Connection:
    """As a program with nothing but the port."""
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": listener.port,
        "user": USER,
        "dbname": DATABASE,
        "autocommit": True,
        "connect_timeout": int(WAITING_SECONDS),
    }
    if listener.secret:
        options["password"] = listener.secret
    return psycopg.connect(**options | changes)


def ask(listener: Listener, query: str = "SELECT 42", **changes: Any) -> Any:
    """The one value that a fresh connection answers."""
    with connect(listener, **changes) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type, unused-ignore]  # test texts
    return row[0] if row else None


@contextmanager
def database(bin_directory: Path) -> Iterator[PostgresServer]:
    """A server with the person's user, and a database for it."""
    with PostgresServer(bin_directory) as server:
        with server.connect(autocommit=True) as rdsadmin:
            create_rds_roles(rdsadmin)
            rdsadmin.execute(f"CREATE DATABASE {DATABASE}")  # type: ignore[arg-type, unused-ignore]  # a constant
            rdsadmin.execute(f"CREATE ROLE {USER} LOGIN IN ROLE rds_iam")  # type: ignore[arg-type, unused-ignore]
        yield server


@contextmanager
def make_world(server: PostgresServer) -> Iterator[World]:
    """Everything around a server."""
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
        undo.callback(shutil.rmtree, directory)
        clock, may_connect = Clock(), {USER: True}
        authority = CertificateAuthority()
        authority.write(directory / "ca.pem")

        def find_credentials(access_key_id: str) -> Credentials | None:
            if access_key_id != KEY:
                return None
            return Credentials(
                secret_access_key=SECRET, session_token=None, may_connect=lambda user: may_connect.get(user, False)
            )

        proxy = IamProxy(
            server=server, region=REGION, authority=authority, find_credentials=find_credentials, clock=clock
        )
        proxy.start()
        undo.callback(proxy.stop)
        proxy.add_host(HOST)
        running = Instance(instance_id=BASTION, state="running", running_since=datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
        instances = {BASTION: running}
        manager = undo.enter_context(
            SessionManager(
                find_instance=instances.get,
                list_instances=lambda: list(instances.values()),
                targets={(HOST, proxy.port): ("127.0.0.1", proxy.port)},
                caller={KEY: OWNER}.__getitem__,
                clock=lambda: datetime.now(UTC),
            )
        )
        manager.documents.append(own_document(OWN_DOCUMENT, _own_document(proxy.port)))
        front = undo.enter_context(SessionManagerFront(manager))
        connection = a_connection(port=proxy.port)
        world = World(
            server=server,
            manager=manager,
            front=front,
            proxy=proxy,
            instances=instances,
            directory=directory,
            bundle=directory / "ca.pem",
            connection=connection,
            clock=clock,
            may_connect=may_connect,
        )
        world.install_plugin()
        yield world


def a_connection(*, port: int = 5432, **changes: Any) -> Connection:
    """By AWS's own document; ``changes`` as for ``replace``."""
    connection = Connection(
        request_id="R-ABC234",
        location="my-aurora-location",
        level="r",
        host=HOST,
        port=port,
        database=DATABASE,
        user=USER,
        region=REGION,
        instance_id=BASTION,
        document_name=AWS_DOCUMENT,
        document_parameters={"host": (HOST,), "portNumber": (str(port),), "localPortNumber": ("56789",)},
        local_port=56789,
        certificate_bundle_url="https://example.com/bundle.pem",
        database_user_arn=f"arn:aws:rds-db:{REGION}:123456789012:dbuser:cluster-ABC/{USER}",
        ends_at=datetime(2026, 3, 2, 13, 0, tzinfo=UTC),
    )
    return replace(connection, **changes)


def _own_document(port: int) -> dict[str, Any]:
    local_port = {"type": "String", "default": "56789", "allowedPattern": "^[0-9]{4,5}$"}
    properties = {"type": "LocalPortForwarding", "host": HOST, "portNumber": str(port)}
    return {
        "schemaVersion": "1.0",
        "sessionType": "Port",
        "parameters": {"localPortNumber": local_port},
        "properties": properties | {"localPortNumber": "{{ localPortNumber }}"},
    }
