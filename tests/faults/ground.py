"""What worlds stand on, one after the other: a database server, its certificate, doors, and the functions, loaded once."""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial, partialmethod
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.client import BaseClient
from botocore.useragent import UserAgentString
from moto.core import responses
from moto.core.model_instances import reset_model_data
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.models import moto_api_backend
from psycopg.sql import SQL, Identifier

from local import seed, stack, strict_asl
from local.aws import API_FUNCTION, STAGE
from local.functions import aws_settings, environment, function_settings, logs_to
from local.iam_proxy import CertificateAuthority
from local.identities import find_credentials, own_credentials
from local.lambdas import load_handler
from local.postgres import PostgresServer, find_bin_directory
from tests.faults.aws import Answer, Aws, Door, ask_moto
from tests.faults.gate import Call, Plan
from tests.faults.postgres_wire import Wire
from tests.faults.stand_ins import Slack
from tests.faults.world import World
from tests.privileges.judge import Judge

SECONDS = {"APPROVAL_WAIT": 900, "IDLE_GRACE": 300}
"""Durations that differ from the product's own, so that a story is over sooner."""
PATIENCE_SECONDS = 3600
"""Of this machine's time, for every client: what gives up does so because the world says that nobody answers."""
_connect_for_some_time = HTTPConnection.connect


def _connect(connection: HTTPConnection) -> None:
    """To wait for an answer without end: while a client waits for a tenth of a second of the world's, a hundred others have their
    turn, on a machine that may be busy with other things besides.
    """
    connection.timeout = None
    _connect_for_some_time(connection)


MENDS: tuple[tuple[Any, str, Any], ...] = (
    (HTTPConnection, "connect", partialmethod(_connect)),
    # What every call of boto3 works out and nobody reads, since nothing is sent.
    (BaseClient, "_resolve_endpoint_ruleset", lambda *_: ("https://aws", {}, {})),
    (UserAgentString, "to_string", lambda _: ""),
    (responses, "method_names_from_class", cache(responses.method_names_from_class)),
)


class Ground:
    """What worlds stand on, one after the other: a database server, a certificate authority, doors, the loaded functions."""

    more_catalogue = ""
    """Locations and people beside the local ones."""
    users = seed.SLACK_USERS
    channels = seed.SLACK_CHANNELS

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _start(self, parts: ExitStack) -> None:
        self.world: World | None = None
        self.judge, self.judged = Judge(), set[int]()
        self.described: dict[object, Answer] = {}
        parts.enter_context(strict_asl.installed(MENDS))
        self.directory = Path(tempfile.mkdtemp(prefix="db-", dir="/tmp"))
        parts.callback(shutil.rmtree, self.directory, ignore_errors=True)
        parts.enter_context(logs_to(self.directory / "functions.log"))
        self.database = parts.enter_context(PostgresServer(find_bin_directory(os.environ)))
        seed.seed_databases(self.database)
        self.root = parts.enter_context(self.database.connect("depotpostgres", autocommit=True))
        authority, self.certificates = CertificateAuthority(), self.directory / "bundle.pem"
        authority.write(self.certificates)
        self.wire = Wire(self.database, authority, partial(find_credentials, authorize=self.judge))
        parts.callback(self.wire.stop)
        self.door = Door(lambda: self._world().aws, lambda *request: self._world().api(*request))
        parts.callback(self.door.stop)
        parts.enter_context(environment(aws_settings(self.door.url, self.directory / "nowhere")))
        parts.enter_context(environment({"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "TZ": "UTC", "no_proxy": "127.0.0.1"}))
        parts.enter_context(own_credentials())
        boto3.DEFAULT_SESSION.events.register("before-call", self._before_call)  # type: ignore[union-attr]  # set up above
        self._bare_aws = Aws(ask_moto, _at_once)
        self.endpoint = seed.seed_cluster(self.wire.port)
        self.wire.open(self.endpoint)
        catalogue = self.directory / "catalogue.json"
        self.catalogue = seed.write_catalogue(
            catalogue, subnets=seed.seed_account(), ports={}, more=self.more_catalogue
        )
        stack.create_launch_templates(self.catalogue)
        self.documents = list(stack.session_documents(self.catalogue, self.endpoint, self.wire.port))
        manifest = (seed.ROOT / "chalicelib" / "slack" / "manifest.json").read_text(encoding="utf-8")
        self.slack = parts.enter_context(
            Slack(
                manifest=json.loads(manifest.replace("https://API", f"{self.door.url}/{STAGE}")),
                team=seed.TEAM,
                users=self.users,
                channels=self.channels,
                signing_secret=seed.SIGNING_SECRET,
                bot_token=seed.BOT_TOKEN,
                app_id=seed.APP,
                clock=time.time,
                deliver_to=self.door.url,
                request_timeout_seconds=PATIENCE_SECONDS,
            )
        )
        self.arn = f"arn:aws:states:{seed.REGION}:{seed.ACCOUNT}:stateMachine:{stack.STACK}-access-request"
        settings = function_settings(
            state_machine=self.arn,
            slack_api=self.slack.api_url,
            catalogue=catalogue,
            certificates=self.certificates,
            seconds=SECONDS,
        )
        parts.enter_context(environment(settings | {"DRAWBRIDGE_AWS_READ_SECONDS": str(PATIENCE_SECONDS)}))
        self.handlers = stack.name_functions(_load_functions(), self.catalogue)
        # Warm for ever: by this machine's clock some run or other would read Slack's token anew and take a course of its own.
        conversation = sys.modules["chalicelib.functions.conversation"]
        parts.enter_context(strict_asl.installed([(conversation, "monotonic", lambda: 0.0)]))
        parts.callback(moto_api_backend.reset)
        self.clock = sys.modules["chalicelib.functions.clock"].clock

    def _before_call(self, **said: Any) -> Any:
        aws = self.world.aws if self.world is not None else self._bare_aws
        return aws.before_call(**said)

    def _world(self) -> World:
        assert self.world is not None
        return self.world

    def _clear_instances(self) -> None:
        ec2 = ec2_backends[seed.ACCOUNT][seed.REGION]
        for reservation in ec2.reservations.values():
            for interface in [each for instance in reservation.instances for each in instance.nics.values()]:
                interface.subnet.del_subnet_ip(interface.private_ip_address)
        for name in [name for name in ec2.tags if name.startswith("i-")]:
            del ec2.tags[name]
        for held in (ec2.reservations, ec2.enis, ec2.volumes):
            held.clear()

    def clear(self) -> None:
        """As it was before the first world."""
        self._clear_instances()
        reset_model_data()  # of everything that it ever made moto keeps a list, and with an instance a world
        logs_backends[seed.ACCOUNT][seed.REGION].groups[seed.AUDIT_LOG].streams.clear()
        self.slack.forget()
        ours = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'jit\\_%' OR rolname LIKE 'drawbridge\\_%\\_attic'"
        self.root.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'jit\\_%' OR usename = 'drawbridge'"
        )
        for (role,) in self.root.execute(ours).fetchall():
            self.root.execute(SQL("DROP OWNED BY {} CASCADE").format(Identifier(role)))
            if role.startswith("jit_"):
                self.root.execute(SQL("DROP ROLE {}").format(Identifier(role)))

    @contextmanager
    def new_world(self, plan: Plan, **changes: Any) -> Iterator[World]:
        """A world in which these faults befall these calls."""
        self.clear()
        random.seed(1)
        mock_random.seed(1)
        world = World(self, plan, **changes)
        self.world = world
        try:
            with world:
                yield world
        finally:
            self.world = None
            self.wire.hang_up()


def _at_once(call: Call, effect: Callable[[], Any]) -> Any:
    return effect()


def _load_functions() -> dict[str, Any]:
    """Every deployed function by its logical id, in one copy of the code, so that there is one clock to set."""
    for name in [
        name for name in sys.modules if name.startswith(("chalicelib.functions", "chalicelib.aws")) or name == "app"
    ]:
        del sys.modules[name]
    app = load_handler("app.app")
    functions = [*app.pure_lambda_functions, *app.event_sources]
    named = {each.name.title().replace("_", ""): load_handler(each.handler_string) for each in functions}
    return {API_FUNCTION: app} | named
