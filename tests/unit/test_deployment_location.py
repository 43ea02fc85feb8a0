"""The check of a location as its operator meets it: what RDS says, what is printed, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ProfileNotFound, UnauthorizedSSOTokenError
from moto import mock_aws

from chalicelib.aws.clients import client as shared_client
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.errors import AccessError, DatabaseNotFoundError, DatabaseUnavailableError, SettingsError
from chalicelib.domain.locations import Location
from chalicelib.postgres.setup_check import Finding, Mark, Subject, judge_refused_login
from deployment.__main__ import main
from deployment.hosting import Hosting, describe_hosting, examine_hosting
from deployment.location import Address, is_ready, render, summarise

REGION = "eu-west-1"
LISTED, IAM, SWITCHOVER = range(3)
EXAMPLE = Path(__file__).parents[2] / "docs" / "catalogue.toml"
MASTER: dict[str, Any] = {
    "MasterUsername": "master",
    "MasterUserPassword": "not-used-here",
    "EngineVersion": "16.4",
}


def rds(region: str) -> Any:
    return boto3.client("rds", region_name=region)


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    shared_client.cache_clear()
    with mock_aws():
        yield
    shared_client.cache_clear()


@pytest.fixture(params=["cluster", "instance"])
def location(request: pytest.FixtureRequest) -> Location:
    """On a cluster, and on an instance of its own."""
    return a_location(request.param)


def a_location(kind: str) -> Location:
    text = EXAMPLE.read_text().replace('cluster = "my-aurora"', f'{kind} = "my-aurora"')
    return load_catalogue(text, file="catalogue.toml").require_location("my-aurora-location")


def create(location: Location, **changes: Any) -> None:
    if location.kind == "cluster":
        rds(REGION).create_db_cluster(
            **MASTER | {"DBClusterIdentifier": "my-aurora", "Engine": "aurora-postgresql", "Port": 5433} | changes
        )
    else:
        instance = {"DBInstanceIdentifier": "my-aurora", "Engine": "postgres", "DBInstanceClass": "db.t4g.micro"}
        rds(REGION).create_db_instance(**MASTER | instance | {"AllocatedStorage": 20, "Port": 5433} | changes)


def ask(location: Location) -> tuple[Hosting, list[Finding]]:
    hosting = describe_hosting(location, rds)
    return hosting, list(examine_hosting(location, hosting, rds))


def a_subject(hosting: Hosting, location: Location) -> Subject:
    return Subject(
        location=location,
        writer=hosting.instances.writer,
        resource=hosting.resource,
        sql_command="python -m deployment location sql my-aurora-location",
        connect_arn=hosting.connect_arn,
    )


def test_rds_has_nothing_against_a_database_with_iam_authentication(location: Location) -> None:
    """Listed, IAM on, no switchover."""
    create(location, EnableIAMDatabaseAuthentication=True)
    hosting, findings = ask(location)

    assert [Mark.HOLDS] * 3 == [finding.mark for finding in findings]
    assert (16, 5433) == (hosting.major, hosting.instances.writer.port)


def test_our_login_is_named_as_iam_names_it(location: Location) -> None:
    """By the resource id of the cluster or instance, which is not its name."""
    create(location)
    hosting, _ = ask(location)

    prefix = "cluster-" if location.kind == "cluster" else "db-"
    assert f"arn:aws:rds-db:{REGION}:123456789012:dbuser:{hosting.resource}/drawbridge" == hosting.connect_arn
    assert hosting.resource.startswith(prefix)


def test_iam_authentication_that_is_off_is_turned_on_by_the_command_printed(location: Location) -> None:
    """It is AWS's own command, with names and options that AWS knows."""
    create(location)
    _, findings = ask(location)
    command, service, verb, *options = findings[IAM].repair.split()
    client = rds(REGION)
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[verb.replace("-", "_")])
    known = {name.lower() for name in model.input_shape.members}
    given = {option.removeprefix("--").replace("-", "") for option in options if option.startswith("--")} - {"region"}

    assert (Mark.REPAIR, "aws", "rds") == (findings[IAM].mark, command, service)
    assert set() == given - known


def test_a_blue_green_deployment_under_way_is_to_be_repaired(location: Location) -> None:
    """What happens to users meanwhile does not reach the copy."""
    create(location, EnableIAMDatabaseAuthentication=True)
    hosting = describe_hosting(location, rds)
    rds(REGION).create_blue_green_deployment(BlueGreenDeploymentName="upgrade", Source=hosting.arn)
    found = list(examine_hosting(location, hosting, rds))[SWITCHOVER]

    assert Mark.REPAIR is found.mark
    assert "under way: upgrade (AVAILABLE)" in found.what
    assert "end all access to my-aurora-location" in found.repair


def test_a_blue_green_deployment_of_another_database_is_none_of_ours() -> None:
    """Only those whose source is this one are asked for."""
    location, other = a_location("cluster"), a_location("instance")
    create(location)
    create(other)
    rds(REGION).create_blue_green_deployment(BlueGreenDeploymentName="upgrade", Source=describe_hosting(other, rds).arn)

    assert Mark.HOLDS is ask(location)[1][SWITCHOVER].mark


class Answers:
    """An RDS client that gives other answers in two places than the one of moto."""

    def __init__(self, *, error: Exception | None = None, statuses: tuple[str, ...] = (), endpoint: str = "") -> None:
        self._real, self._error, self._statuses, self._endpoint = rds(REGION), error, statuses, endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def describe_db_clusters(self, **arguments: Any) -> Any:
        found = self._real.describe_db_clusters(**arguments)
        if self._endpoint:
            found["DBClusters"][0]["Endpoint"] = self._endpoint
        return found

    def get_paginator(self, operation: str) -> Any:
        assert operation == "describe_blue_green_deployments"
        return self

    def paginate(self, **_: Any) -> Any:
        return self

    def build_full_result(self) -> Any:
        if self._error:
            raise self._error
        names = [
            {"BlueGreenDeploymentIdentifier": f"bgd-{status.lower()}", "Status": status} for status in self._statuses
        ]
        return {"BlueGreenDeployments": names}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PROVISIONING", Mark.REPAIR),
        ("AVAILABLE", Mark.REPAIR),
        ("SWITCHOVER_IN_PROGRESS", Mark.REPAIR),
        ("SWITCHOVER_FAILED", Mark.REPAIR),
        ("INVALID_CONFIGURATION", Mark.REPAIR),
        ("SWITCHOVER_COMPLETED", Mark.HOLDS),
        ("DELETING", Mark.HOLDS),
    ],
)
def test_a_switchover_that_may_still_come_counts(status: str, expected: Mark) -> None:
    """One that is over, or never will be, does not."""
    location = a_location("cluster")
    create(location)
    answers = Answers(statuses=(status,))

    found = list(examine_hosting(location, describe_hosting(location, rds), lambda _: answers))[SWITCHOVER]
    assert expected is found.mark


def test_what_rds_may_not_tell_is_unknown() -> None:
    """The other questions are answered all the same."""
    location = a_location("cluster")
    create(location, EnableIAMDatabaseAuthentication=True)
    answers = Answers(error=ClientError({"Error": {"Code": "AccessDenied", "Message": "arn:..."}}, "Describe"))
    findings = list(examine_hosting(location, describe_hosting(location, rds), lambda _: answers))

    assert [Mark.HOLDS, Mark.HOLDS, Mark.UNKNOWN] == [finding.mark for finding in findings]
    assert "AccessDenied" in findings[SWITCHOVER].what
    assert "rds:DescribeBlueGreenDeployments" in findings[SWITCHOVER].repair


def test_an_endpoint_that_is_not_rdss_is_refused() -> None:
    """A token for it would be somebody else's."""
    location = a_location("cluster")
    create(location)
    answers = Answers(endpoint="db.example.com")
    hosting = describe_hosting(location, lambda _: answers)

    assert Mark.REPAIR is list(examine_hosting(location, hosting, lambda _: answers))[LISTED].mark


@pytest.mark.parametrize(
    ("trouble", "expected", "sentence"),
    [
        (NoCredentialsError(), SettingsError, "aws sso login"),
        (ProfileNotFound(profile="dev"), SettingsError, "AWS_PROFILE"),
        (UnauthorizedSSOTokenError(), SettingsError, "UnauthorizedSSOTokenError"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "Describe"), SettingsError, "ExpiredToken"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "Describe"), DatabaseUnavailableError, "AccessDenied"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_an_identity_of_no_use_is_told_from_a_refusal(
    trouble: Exception, expected: type[AccessError], sentence: str
) -> None:
    """Signing in again helps with the one and not with the other."""

    def refuse(_: str) -> Any:
        raise trouble

    with pytest.raises(AccessError, match=sentence) as caught:
        describe_hosting(a_location("cluster"), refuse)

    assert expected is type(caught.value)


def test_a_location_that_rds_does_not_know_is_the_catalogues_mistake(location: Location) -> None:
    """Nothing further can be asked."""
    with pytest.raises(DatabaseNotFoundError, match="Correct the catalogue"):
        describe_hosting(location, rds)


# The login


@pytest.mark.parametrize(
    ("said", "what", "repair"),
    [
        (
            'FATAL:  PAM authentication failed for user "drawbridge"',
            "the login drawbridge is refused (PAM authentication failed",
            "CREATE ROLE",
        ),
        ('FATAL:  role "drawbridge" is not permitted to log in', "is refused", 'ALTER ROLE "drawbridge" LOGIN;'),
        (
            'FATAL:  database "depotpostgres" does not exist',
            "no database depotpostgres",
            "Correct the location's database",
        ),
        ("SSL error: certificate verify failed", "could not prove that it is", "--certificates"),
    ],
)
def test_a_refusal_is_repaired_where_it_comes_from(said: str, what: str, repair: str) -> None:
    """The role, the catalogue or the certificates."""
    location = a_location("cluster")
    create(location)
    hosting = describe_hosting(location, rds)
    error = psycopg.OperationalError(f'connection to server at "10.0.0.1", port 5432 failed: {said}')
    found = judge_refused_login(error, a_subject(hosting, location), major=16)

    assert Mark.REPAIR is found.mark
    assert what in found.what
    assert repair in found.repair


def test_a_refused_login_may_be_the_operators_own_fault() -> None:
    """Their AWS identity needs the right as well, by its full name."""
    location = a_location("cluster")
    create(location)
    hosting = describe_hosting(location, rds)
    error = psycopg.OperationalError('failed: FATAL:  PAM authentication failed for user "drawbridge"')

    assert hosting.connect_arn in judge_refused_login(error, a_subject(hosting, location), major=16).repair


# The terminal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", Address(ip="127.0.0.1", port=None)),
        ("127.0.0.1:56789", Address(ip="127.0.0.1", port=56789)),
        ("[::1]:5432", Address(ip="::1", port=5432)),
    ],
)
def test_an_address_is_a_host_and_maybe_a_port(text: str, expected: Address) -> None:
    """Without a port it is the endpoint's own."""
    assert expected == Address.parse(text)


@pytest.mark.parametrize("text", [":5432", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:five", "[::1"])
def test_what_is_no_address_is_said_with_an_example(text: str) -> None:
    """One sentence."""
    with pytest.raises(SettingsError, match=r"Write it like 127\.0\.0\.1:5432"):
        Address.parse(text)


def test_a_repair_stands_indented_below_its_finding() -> None:
    """Ready to paste, line by line."""
    finding = Finding(mark=Mark.REPAIR, what="drawbridge lacks LOGIN", repair="-- As the master user:\nALTER ...;")

    assert "REPAIR   drawbridge lacks LOGIN\n         -- As the master user:\n         ALTER ...;" == render(finding)


def test_names_from_a_catalog_cannot_steer_the_terminal() -> None:
    """Whoever may make a database may call it anything."""
    assert "\x1b" not in render(Finding(mark=Mark.REPAIR, what="x\x1b[2J", repair="y\x1b[2J"))


@pytest.mark.parametrize(
    ("marks", "last_line"),
    [
        ([Mark.HOLDS, Mark.CAUTION], "Everything is there. Next, in Slack: /db-access orders r 15m"),
        ([Mark.HOLDS, Mark.REPAIR], "orders is not ready: 1 to repair. Run this again afterwards."),
        ([Mark.UNKNOWN], "orders is not ready: 1 could not be checked. Run this again afterwards."),
    ],
)
def test_the_last_line_says_how_it_stands(marks: list[Mark], last_line: str) -> None:
    """What nobody could ask is not taken for well; what is only worth knowing does not count."""
    assert last_line == summarise(marks, "orders")
    assert last_line.startswith("Everything") == is_ready(marks)


def check(*options: str) -> int:
    return main(
        [
            "location",
            "check",
            "my-aurora-location",
            "--locations",
            str(EXAMPLE),
            "--certificates",
            str(EXAMPLE),
            *options,
        ]
    )


def test_certificates_that_are_missing_are_fetched_by_the_line_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody is asked."""
    assert 1 == check("--certificates", "/nowhere/bundle.pem")
    assert "curl --output /nowhere/bundle.pem https://truststore.pki.rds.amazonaws.com/" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Also while a database does not answer; status 130."""
    create(a_location("cluster"))
    # Whoever runs the tests in the background has SIGINT ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(30)

        def interrupt() -> None:
            with closing(silent.accept()[0]) as dialled:
                dialled.recv(1)
                os.kill(os.getpid(), signal.SIGINT)
                ended.wait(30)

        ended = threading.Event()
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            status = check("--address", f"127.0.0.1:{silent.getsockname()[1]}")
        finally:
            signal.signal(signal.SIGINT, inherited)
            ended.set()
            thread.join()

    assert 130 == status
    assert capsys.readouterr().err.endswith("\nEnded by you; nothing was changed.\n")


def test_without_credentials_it_is_one_sentence() -> None:
    """In a process of its own, for credentials are found once per process."""
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "HOME": "/nowhere"}
    files = ("--locations", str(EXAMPLE), "--certificates", str(EXAMPLE))
    ended = subprocess.run(
        [sys.executable, "-m", "deployment", "location", "check", "my-aurora-location", *files],
        cwd=EXAMPLE.parents[1],
        env=environment | {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (1, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith("There are no AWS credentials that AWS accepts (NoCredentialsError). Sign in,")
    assert 1 == ended.stderr.count("\n")
