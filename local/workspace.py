"""The local workspace: starts every part in order on 127.0.0.1, and ends every part. Its functions are the deployed ones."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import boto3
from moto.ec2.models import ec2_backends

from chalicelib.domain.catalogue import Catalogue
from local import seed, stack
from local.aws import LocalAws
from local.aws_calls import AwsCall
from local.behind import Behind
from local.functions import aws_settings, environment, function_settings, load_functions, logs_to
from local.iam_proxy import CertificateAuthority, IamProxy
from local.identities import find_credentials, own_credentials, principal_of, users_of
from local.postgres import PostgresServer, find_bin_directory
from local.shells import Shells
from local.slack.api import SlackStandIn
from local.ssm.server import Instance, SessionManager
from local.ticker import Ticker

HOUSEKEEPING = ("StopIdleBastions", "ReconcileGrants")
SHORT = {"ACCESS": 10, "APPROVAL_WAIT": 60, "PREPARATION": 60, "IDLE_GRACE": 0, "STOP_SETTLING": 1, "LEASE_MARGIN": 30}
"""Seconds, by the names of the default durations."""
TICK = {"version": "0", "id": "local", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
TICK |= {"account": seed.ACCOUNT, "time": "2026-01-01T00:00:00Z", "region": seed.REGION, "resources": []}


class Workspace:
    """A context manager. ``seconds`` replaces durations, ``ports`` the local ports of locations; ``tell`` hears of each part.

    ``authorize`` says of each call to AWS why it may not be made, or None. ``in_slack`` replaces users, channels and the like;
    ``tick_seconds`` lie between two turns of housekeeping.
    """

    def __init__(
        self,
        *,
        seconds: Mapping[str, int] = SHORT,
        ports: Mapping[str, int] | None = None,
        pending_seconds: float = 0.6,
        more_catalogue: str = "",
        tell: Callable[[str], object] = str,
        authorize: Callable[[AwsCall], str | None] | None = None,
        in_slack: Mapping[str, Any] | None = None,
        tick_seconds: float = 0.5,
    ) -> None:
        self._seconds, self._ports, self._pending_seconds, self._tell = seconds, ports or {}, pending_seconds, tell
        self._more_catalogue, self._authorize = more_catalogue, authorize
        self._in_slack, self._tick_seconds = in_slack, tick_seconds
        self._running_since, self._runs, self.handlers = dict[str, datetime](), list[float](), dict[str, Any]()

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _start(self, parts: ExitStack) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="drawbridge-"))
        parts.callback(shutil.rmtree, self.directory, ignore_errors=True)
        parts.enter_context(logs_to(self.directory / "functions.log"))
        self._tell("PostgreSQL")
        self.database = parts.enter_context(PostgresServer(find_bin_directory(os.environ)))
        seed.seed_databases(self.database)
        authority, self.certificates = CertificateAuthority(), self.directory / "rds-global-bundle.pem"
        authority.write(self.certificates)
        listed: list[Catalogue] = []
        find = partial(
            find_credentials,
            authorize=self._authorize,
            find_users=lambda arn: [user for each in listed for user in users_of(arn, each)],
        )
        clock = partial(datetime.now, UTC)
        self.proxy = IamProxy(
            server=self.database, region=seed.REGION, authority=authority, find_credentials=find, clock=clock
        )
        self.proxy.start()
        parts.callback(self.proxy.stop)
        self._tell("Session Manager")
        targets: dict[tuple[str, int], tuple[str, int]] = {}
        self.sessions = SessionManager(
            find_instance=lambda wanted: next((each for each in self.instances() if each.instance_id == wanted), None),
            list_instances=self.instances,
            targets=targets,
            caller=principal_of,
            clock=clock,
            boot_seconds=self._pending_seconds / 2,
        )
        parts.enter_context(self.sessions)
        self._tell("AWS")
        seconds = {"pending_seconds": self._pending_seconds, "stopping_seconds": self._pending_seconds / 2}
        self.aws = parts.enter_context(
            LocalAws(handlers=self.handlers, ssm=self.sessions, authorize=self._authorize, **seconds)
        )
        parts.enter_context(environment(aws_settings(self.aws.endpoint_url, self.directory / "nowhere")))
        parts.enter_context(own_credentials())
        self.endpoint = seed.seed_cluster(self.proxy.port)
        self.proxy.add_host(self.endpoint)
        targets[self.endpoint, self.proxy.port] = ("127.0.0.1", self.proxy.port)
        self.shells = Shells(self.directory / "shells", endpoint_url=self.aws.endpoint_url, api_url=self.aws.api_url)
        self._tell("Slack")
        self.slack = parts.enter_context(_slack(self.aws.api_url, self._in_slack))
        self._tell("functions")
        catalogue = self.directory / "catalogue.json"
        subnets = seed.seed_account()
        loaded = seed.write_catalogue(catalogue, subnets=subnets, ports=self._ports, more=self._more_catalogue)
        listed.append(loaded)
        stack.create_launch_templates(loaded)
        self.sessions.documents += stack.session_documents(loaded, self.endpoint, self.proxy.port)
        self.state_machine = stack.create_state_machine()
        self.slack.behind = Behind(
            state_machine=self.state_machine,
            states_entered=self.states_entered,
            instances=self.instances,
            bastion_seconds=self.bastion_seconds,
            database=self.database,
        ).facts
        settings = function_settings(
            state_machine=self.state_machine,
            slack_api=self.slack.api_url,
            catalogue=catalogue,
            certificates=self.certificates,
            seconds=self._seconds,
        )
        parts.enter_context(environment(settings))
        self.handlers |= stack.name_functions(load_functions(), loaded)
        self.schedule = Ticker(self._tick_seconds, [partial(self.aws.invoke, name, TICK) for name in HOUSEKEEPING])
        self.schedule.start()
        parts.callback(self.schedule.stop)

    def find_failure(self) -> str | None:
        """A sentence about a part that ended by itself, if one did."""
        return self.database.find_failure()

    def states_entered(self, execution: str) -> list[str]:
        """The names of the states that an execution has entered so far, in order."""
        arn = self.state_machine.replace(":stateMachine:", ":execution:") + f":{execution}"
        events = boto3.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]

    def bastion_state(self) -> str:
        """What EC2 says of the newest bastion, or "absent"."""
        return next((instance.state for instance in reversed(self.instances())), "absent")

    def bastion_seconds(self) -> float:
        """How long instances have been running so far, all together."""
        now = datetime.now(UTC)
        return sum(self._runs) + sum((now - since).total_seconds() for since in list(self._running_since.values()))

    def instances(self) -> list[Instance]:
        """EC2's instances; an agent starts booting when its instance is first seen running."""
        states = {
            instance.id: instance.instance_state.name
            for reservation in list(ec2_backends[seed.ACCOUNT][seed.REGION].reservations.values())
            for instance in reservation.instances
        }
        for name, state in states.items():
            if state == "running":
                self._running_since.setdefault(name, datetime.now(UTC))
            elif started := self._running_since.pop(name, None):
                self._runs.append((datetime.now(UTC) - started).total_seconds())
        since = self._running_since
        return [Instance(instance_id=name, state=states[name], running_since=since.get(name)) for name in states]


def _slack(api_url: str, changed: Mapping[str, Any] | None = None) -> SlackStandIn:
    """Slack with the app installed from its manifest, the API's address filled in."""
    manifest = (seed.ROOT / "chalicelib" / "slack" / "manifest.json").read_text(encoding="utf-8")
    people = {"team": seed.TEAM, "users": seed.SLACK_USERS, "channels": seed.SLACK_CHANNELS}
    secrets = {"signing_secret": seed.SIGNING_SECRET, "bot_token": seed.BOT_TOKEN, "app_id": seed.APP}
    installed = json.loads(manifest.replace("https://API", api_url))
    return SlackStandIn(manifest=installed, clock=time.time, deliver_to=api_url, **people | secrets | (changed or {}))
