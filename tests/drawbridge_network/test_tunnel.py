"""A tunnel is opened as AWS's own command opens it, again when it dropped, and nothing of it is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.credentials import CredentialResolver

import local.session_manager_plugin
from drawbridge.connection import Connection
from drawbridge.errors import ConfigurationError, CredentialsError, RefusedError, TunnelError
from drawbridge.tunnel import Tunnel
from local.ssm.documents import AWS_DOCUMENT, SsmError
from local.ssm.server import Instance
from tests.drawbridge_network.world import BASTION, HOST, KEY, OWN_DOCUMENT, REGION, SECRET, World, ask
from tests.waiting import WAITING_SECONDS, eventually

STAND_IN = Path(local.session_manager_plugin.__file__).read_text(encoding="utf-8")
SLEEPS = "import threading; threading.Event().wait(600)"
DEAF = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{SLEEPS}"
RECORDED = """
import json, os, pathlib, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(print({version!r}))
names = ("AWS_SSM_START_SESSION_RESPONSE", "AWS_PROFILE")
seen = {{"arguments": sys.argv[1:]}} | {{name: os.environ.get(name) for name in names}}
pathlib.Path({file!r}).write_text(json.dumps(seen))
"""
FAILS_ONCE = """
import pathlib, sys
marker = pathlib.Path({file!r})
if sys.argv[1:] != ["--version"] and not marker.exists():
    marker.touch()
    sys.exit(print("Cannot perform start session: listen tcp 127.0.0.1:1: bind: address already in use"))
"""
HELD = """
import signal
import sys
import boto3
from tests.drawbridge_network.world import a_connection
from drawbridge.tunnel import Tunnel

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore them
session = boto3.Session(aws_access_key_id={key!r}, aws_secret_access_key={secret!r}, region_name={region!r})
options = dict(session=session, tell=print, endpoint_url={endpoint_url!r}, environment={environment!r})
with Tunnel(a_connection(port={port}), **options):
    print("open", flush=True)
    sys.stdin.read()
"""


def sessions_started(world: World) -> list[dict[str, Any]]:
    return [request for operation, request in world.front.calls if operation == "StartSession"]


def processes(world: World) -> list[str]:
    """What runs the plugin of this world, watchers included."""
    listed = subprocess.run(["ps", "-axo", "stat=,command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(world.directory) in line and not line.startswith("Z")]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _no_orphans(world: World) -> Iterator[None]:
    yield
    assert eventually(lambda: [] == processes(world))


# Opening


def test_aws_own_document_is_told_where_to_go(world: World) -> None:
    """As in the command that people are delivered, but with a private port; the reason tells whose tunnel it is."""
    with world.tunnel() as tunnel:
        assert is_listening(tunnel.port)
        assert [
            {
                "Target": BASTION,
                "DocumentName": AWS_DOCUMENT,
                "Parameters": {
                    "host": [HOST],
                    "portNumber": [str(world.proxy.port)],
                    "localPortNumber": [str(tunnel.port)],
                },
                "Reason": "R-ABC234",
            }
        ] == sessions_started(world)


def test_a_locations_own_document_knows_where_to_go(world: World) -> None:
    """It takes the local port and nothing else."""
    own = replace(world.connection, document_name=OWN_DOCUMENT, document_parameters={})
    with world.tunnel(connection=own) as tunnel, world.listener(tunnel) as listener:
        assert 42 == ask(listener)
        assert [{"localPortNumber": [str(tunnel.port)]}] == [each["Parameters"] for each in sessions_started(world)]


def test_the_port_is_another_one_each_time(world: World) -> None:
    """Two tunnels of one person do not get in each other's way."""
    with world.tunnel() as first, world.tunnel() as second:
        assert first.port != second.port
        assert [True, True] == [is_listening(tunnel.port) for tunnel in (first, second)]


@pytest.mark.parametrize("version", ["1.2.764.0", "1.2.896.0", "1.10.0.0", "1.2.497.1"])
def test_a_recent_plugin_gets_the_session_in_its_environment(world: World, version: str) -> None:
    """As from the AWS CLI: no other user of the machine may read its token in the list of processes."""
    seen = record_calls(world, version)
    with world.tunnel():
        arguments = json.loads(seen.read_text())["arguments"]
        response = json.loads(json.loads(seen.read_text())["AWS_SSM_START_SESSION_RESPONSE"])

        request = sessions_started(world)[0]
        assert ["AWS_SSM_START_SESSION_RESPONSE", REGION, "StartSession", ""] == arguments[:4]
        assert (request, world.endpoint_url) == (json.loads(arguments[4]), arguments[5])
        assert {"SessionId", "TokenValue", "StreamUrl"} == response.keys()
        assert [] == [line for line in processes(world) if response["TokenValue"] in line]


@pytest.mark.parametrize("version", ["1.2.497.0", "1.2.30.0", "local-stand-in 0.1"])
def test_an_old_plugin_gets_the_session_as_an_argument(world: World, version: str) -> None:
    """It knows no other way."""
    seen = record_calls(world, version)
    with world.tunnel():
        found = json.loads(seen.read_text())

        assert {"SessionId", "TokenValue", "StreamUrl"} == json.loads(found["arguments"][0]).keys()
        assert None is found["AWS_SSM_START_SESSION_RESPONSE"]


@pytest.mark.parametrize(("name", "expected"), [("work", "work"), (None, "")])
def test_the_plugin_uses_the_same_profile(world: World, tmp_path: Path, name: str | None, expected: str) -> None:
    """It signs the data channel itself. Without a profile none may slip in by the environment."""
    seen = record_calls(world, "1.2.896.0")
    core = botocore.session.Session(profile=name)
    core.set_config_variable("config_file", str(tmp_path / "config"))
    text = f"[profile work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "config").write_text(text + text.replace("profile work", "default"), encoding="utf-8")
    environment = world.environment | {"AWS_PROFILE": "another"}
    with world.tunnel(session=boto3.Session(botocore_session=core), environment=environment):
        found = json.loads(seen.read_text())

    assert expected == found["arguments"][3]
    assert None is found["AWS_PROFILE"] or name


def record_calls(world: World, version: str) -> Path:
    seen = world.directory / "seen.json"
    world.install_plugin(f"{RECORDED.format(version=version, file=str(seen))}\n{STAND_IN}")
    return seen


def test_a_bastion_that_is_not_there_yet_is_waited_for(world: World) -> None:
    """It is said once, and tried again."""
    running = world.instances.pop(BASTION)

    def tell(sentence: str) -> None:
        world.said.append(sentence)
        world.instances[BASTION] = running

    with world.tunnel(tell=tell) as tunnel:
        assert is_listening(tunnel.port)
    assert 1 == len(world.said)
    assert f"TargetNotConnected, {BASTION} is not connected. " in world.said[0]
    assert world.said[0].endswith("Trying again.")


def test_a_port_that_somebody_else_took_is_no_end(world: World) -> None:
    """Between choosing and listening there is a moment: another port is tried."""
    world.install_plugin(f"{FAILS_ONCE.format(file=str(world.directory / 'failed'))}\n{STAND_IN}")
    with world.tunnel() as tunnel:
        assert is_listening(tunnel.port)
    assert "address already in use" in world.said[0]
    assert ["Terminated", "Terminated"] == world.statuses()


# Not opening


def refused(error: type[Exception], tunnel: Tunnel, *, seconds: float = WAITING_SECONDS) -> str:
    with pytest.raises(error) as caught:
        tunnel.require_open(seconds=seconds)
    tunnel.close()
    return str(caught.value)


def test_a_missing_plugin_is_said_before_a_session_is_started(world: World) -> None:
    """With how to install it."""
    told = refused(ConfigurationError, world.tunnel(environment={"PATH": str(world.directory)}))

    assert "No tunnel without AWS's session-manager-plugin, which is not on your PATH. " in told
    assert [] == world.front.calls


def test_a_plugin_that_does_not_run_is_said(world: World) -> None:
    """A broken installation is named by its file."""
    plugin = world.install_plugin()
    plugin.write_text("#!/nowhere/python\n", encoding="utf-8")

    assert f"{plugin} does not run" in refused(ConfigurationError, world.tunnel())


def test_a_tunnel_that_never_opens_is_given_up(world: World) -> None:
    """In one message that says what to look at; plugin and session are ended."""
    world.install_plugin(f"import sys\nsys.argv[1:] == ['--version'] and sys.exit(print('1.2.896.0'))\n{SLEEPS}")
    told = refused(TunnelError, world.tunnel(), seconds=3)

    assert "The tunnel to my-aurora-location did not open: session-manager-plugin did not open its port in time" in told
    assert f"Is the way to ssmmessages.{REGION}.amazonaws.com, port 443, open from here?" in told
    assert ["Terminated"] == world.statuses()


def test_a_plugin_that_gives_up_is_quoted(world: World) -> None:
    """Its own words are the best there are."""
    world.install_plugin("print('SessionId: x : the agent is out of order')")
    told = refused(TunnelError, world.tunnel(), seconds=1)

    assert "session-manager-plugin ended and said: SessionId: x : the agent is out of order." in told
    assert ["Terminated"] == world.statuses()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (
            "AccessDeniedException",
            TunnelError,
            f"must allow ssm:StartSession on {BASTION} and on the document {AWS_DOCUMENT}",
        ),
        ("ExpiredTokenException", CredentialsError, "aws sso login --profile default"),
        ("InvalidSignatureException", CredentialsError, "check this machine's clock"),
        ("InvalidDocument", TunnelError, "Tell the operator"),
        ("TargetNotConnected", TunnelError, "see `drawbridge mine`"),
    ],
)
def test_a_refusal_of_aws_is_told_with_the_next_step(
    world: World, code: str, kind: type[Exception], words: str
) -> None:
    """Once, or for as long as it may pass."""
    world.front.refusal = SsmError(code, "This is AWS's sentence.")
    told = refused(kind, world.tunnel(), seconds=10)

    assert words in told
    assert "This is AWS's sentence." in told
    assert (code == "TargetNotConnected") == (len(sessions_started(world)) > 1)


def test_no_credentials_are_said(world: World) -> None:
    """By the link that failed: it is not the tunnel."""
    core = botocore.session.Session()
    core.register_component("credential_provider", CredentialResolver([]))
    session = boto3.Session(botocore_session=core, region_name=REGION)

    assert "Your AWS credentials (profile default) cannot be used" in refused(
        CredentialsError, world.tunnel(session=session)
    )


def test_a_service_that_is_not_reached_is_said(world: World) -> None:
    """For a machine without a network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint_url = f"http://127.0.0.1:{server.getsockname()[1]}"
    told = refused(TunnelError, world.tunnel(endpoint_url=endpoint_url), seconds=1)

    assert f"Session Manager in {REGION} was not reached" in told


# Staying open


def test_a_drop_is_said_and_mended_when_needed(world: World) -> None:
    """Not before: an access that ended would be knocked at for ever."""
    with world.tunnel() as tunnel:
        first = tunnel.port
        world.break_tunnel()

        assert tunnel.has_dropped(WAITING_SECONDS)
        assert eventually(lambda: 1 == len(world.said))
        assert 1 == len(sessions_started(world))
        assert is_listening(tunnel.require_open())
        assert first != tunnel.port
        assert 2 == len(sessions_started(world))


def test_a_killed_plugin_is_a_drop(world: World) -> None:
    """The session that it left is ended before the next is started."""
    with world.tunnel() as tunnel:
        for pid in pids(world):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        assert tunnel.has_dropped(WAITING_SECONDS)
        assert is_listening(tunnel.require_open())
        assert ["StartSession", "TerminateSession", "StartSession"] == [operation for operation, _ in world.front.calls]


def pids(world: World) -> list[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if str(world.directory) in line]


def test_where_the_bastion_is_by_now_is_asked_before_it_is_opened_again(world: World) -> None:
    """It may have been replaced meanwhile. The first time that is known."""
    asked: list[Connection] = []
    other = "i-0fedcba9876543210"

    def renew() -> Connection:
        asked.append(replace(world.connection, instance_id=other))
        return asked[-1]

    with world.tunnel(renew=renew) as tunnel:
        assert [] == asked
        world.instances[other] = Instance(
            instance_id=other, state="running", running_since=world.instances[BASTION].running_since
        )
        world.break_tunnel()
        assert tunnel.has_dropped(WAITING_SECONDS)
        tunnel.require_open()

        assert [BASTION, other] == [request["Target"] for request in sessions_started(world)]


def test_an_access_that_ended_opens_no_session(world: World) -> None:
    """Who asks for the tunnel gets the reason."""

    def renew() -> Connection:
        raise RefusedError("Your access ended.")

    with world.tunnel(renew=renew) as tunnel:
        world.break_tunnel()
        assert tunnel.has_dropped(WAITING_SECONDS)

        with pytest.raises(RefusedError, match=r"Your access ended\."):
            tunnel.require_open()
        assert 1 == len(sessions_started(world))


def test_many_who_need_it_at_once_open_it_once(world: World) -> None:
    """The others wait for the one."""
    with world.tunnel() as tunnel:
        world.break_tunnel()
        assert tunnel.has_dropped(WAITING_SECONDS)
        with ThreadPoolExecutor(8) as people:
            ports = set(people.map(lambda _: tunnel.require_open(), range(8)))

        assert {tunnel.port} == ports
        assert 2 == len(sessions_started(world))


def test_many_who_wait_for_a_failure_share_it(world: World) -> None:
    """Eight programs do not knock eight times one after the other."""
    with world.tunnel() as tunnel:
        world.break_tunnel()
        assert tunnel.has_dropped(WAITING_SECONDS)
        world.front.refusal = SsmError("AccessDeniedException", "No.")
        barrier = threading.Barrier(8)

        def need(_: int) -> str:
            barrier.wait(WAITING_SECONDS)
            with pytest.raises(TunnelError) as caught:
                tunnel.require_open()
            return str(caught.value)

        with ThreadPoolExecutor(8) as people:
            assert 1 == len(set(people.map(need, range(8))))
        assert 8 > len(sessions_started(world)) - 1


# Ending


def test_the_end_ends_plugin_and_session(world: World) -> None:
    """Both are told: the plugin by us, and the service by both."""
    with world.tunnel() as tunnel:
        port = tunnel.port
        assert [] != processes(world)

    assert not is_listening(port)
    assert ["Terminated"] == world.statuses()
    assert [] == world.said


def test_a_plugin_that_does_not_listen_is_killed(world: World) -> None:
    """With everything that it started."""
    world.install_plugin(f"import sys\nsys.argv[1:] == ['--version'] and sys.exit(print('1.2.896.0'))\n{DEAF}")
    refused(TunnelError, world.tunnel(), seconds=0.5)

    assert eventually(lambda: [] == processes(world))


def test_it_can_be_closed_while_it_is_being_opened(world: World) -> None:
    """Ctrl-C does not wait for a plugin that says nothing."""
    world.install_plugin(f"import sys\nsys.argv[1:] == ['--version'] and sys.exit(print('1.2.896.0'))\n{SLEEPS}")
    tunnel = world.tunnel()
    with ThreadPoolExecutor(1) as opening:
        failed = opening.submit(tunnel.require_open)
        assert eventually(tunnel.is_open)
        started_at = time.monotonic()
        tunnel.close()

        with pytest.raises(TunnelError):
            failed.result(WAITING_SECONDS)
    assert 10 > time.monotonic() - started_at
    assert ["Terminated"] == world.statuses()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_when_we_are_killed(world: World, number: signal.Signals) -> None:
    """A terminal that is closed, a machine that runs out of memory: plugin and session end all the same."""
    program = HELD.format(
        key=KEY,
        secret=SECRET,
        region=REGION,
        endpoint_url=world.endpoint_url,
        environment=world.environment,
        port=world.proxy.port,
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as held:
        assert held.stdout
        assert "open\n" == held.stdout.readline()
        assert [] != processes(world)
        held.send_signal(number)
        held.wait(WAITING_SECONDS)

    assert eventually(lambda: [] == processes(world))
    assert eventually(lambda: ["Terminated"] == world.statuses())


def test_ctrl_c_in_the_terminal_does_not_end_it(world: World) -> None:
    """In psql that key cancels a query: the plugin is in a session of its own."""
    with world.tunnel():
        groups = {os.getpgid(pid) for pid in pids(world)}

        assert os.getpgid(0) not in groups
        assert 1 == len(groups)
