"""What people's own AWS identities may do: tunnel by our bastions and documents, end their own tunnels, connect as themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib.aws.clients import client
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.errors import SettingsError
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import person_role
from chalicelib.domain.session_documents import AWS_DOCUMENT, document_name
from deployment.user_policy import print_policy, user_policy
from tests.privileges.evaluator import Request, is_allowed
from tests.privileges.world import arn_of, policy_of

EXAMPLE = Path(__file__).parents[2] / "docs" / "catalogue.toml"
ALICE = "AROAEXAMPLE:alice@example.com"
BASTION = arn_of("ec2", "instance/i-0123456789abcdef0")
CHECKED = {"ssm:SessionDocumentAccessCheck": "true"}


def may(action: str, resource: str, *, uses_aws_document: bool = False, **context: str) -> bool:
    """Alice, by the policy of the stage ``prod``."""
    given = {name: (value,) for name, value in {"aws:userid": ALICE, **context}.items()}
    policy = policy_of(user_policy("prod", uses_aws_document=uses_aws_document))
    return is_allowed(policy, Request(action=action, resource=resource, context=given))


def tag(stage: str) -> dict[str, str]:
    return {"ssm:resourceTag/drawbridge:stage": stage}


def document(name: str) -> str:
    return arn_of("ssm", f"document/{name}")


def own(session: str) -> dict[str, str]:
    return {"ssm:resourceTag/aws:ssmmessages:session-id": session}


def test_a_tunnel_goes_through_a_bastion_of_the_stage() -> None:
    """Neither through another stage's nor through an instance that is no bastion."""
    assert may("ssm:StartSession", BASTION, **tag("prod"), **CHECKED)
    assert not may("ssm:StartSession", BASTION, **tag("test"), **CHECKED)
    assert not may("ssm:StartSession", BASTION, **CHECKED)


@pytest.mark.parametrize("location", ["my-aurora-location", "x"])
def test_a_tunnel_is_opened_by_a_location_s_document(location: str) -> None:
    """As the delivered command names it."""
    name = document_name(stage="prod", location=location)

    assert may("ssm:StartSession", document(name), **CHECKED)
    assert not may("ssm:StartSession", document(document_name(stage="test", location=location)), **CHECKED)


def test_there_is_no_shell() -> None:
    """The document that starts one is not allowed, and an instance alone allows nothing where AWS checks the document."""
    assert not may("ssm:StartSession", document("SSM-SessionManagerRunShell"), **CHECKED)
    assert not may("ssm:StartSession", BASTION, **tag("prod"), **{"ssm:SessionDocumentAccessCheck": "false"})


@pytest.mark.parametrize("uses_aws_document", [True, False])
def test_the_document_that_lets_people_choose_the_host_is_an_option(uses_aws_document: bool) -> None:
    """AWS's documents belong to no account."""
    theirs = arn_of("ssm", f"public document/{AWS_DOCUMENT}")

    assert uses_aws_document is may("ssm:StartSession", theirs, uses_aws_document=uses_aws_document, **CHECKED)
    assert not may("ssm:StartSession", document(AWS_DOCUMENT), uses_aws_document=uses_aws_document, **CHECKED)


@pytest.mark.parametrize("action", ["ssm:TerminateSession", "ssm:ResumeSession"])
def test_only_one_s_own_sessions(action: str) -> None:
    """AWS tags a session with whose it is."""
    session = arn_of("ssm", "session/alice@example.com-0123456789")

    assert may(action, session, **own(ALICE))
    assert not may(action, session, **own("AROAEXAMPLE:bob@example.com"))
    assert not may(action, session)


def test_only_one_s_own_channel() -> None:
    """By the name of the session, which begins with the caller's."""
    assert may("ssmmessages:OpenDataChannel", arn_of("ssm", f"session/{ALICE}-0123456789"))
    assert not may("ssmmessages:OpenDataChannel", arn_of("ssm", "session/AROAEXAMPLE:bob@example.com-0123456789"))


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("local/api/GET/v1/locations", True),
        ("local/api/DELETE/v1/requests/R-ABC234", True),
        ("local/api/POST/slack/events", False),
        ("local/other/GET/v1/locations", False),
        ("another/api/GET/v1/locations", False),
    ],
)
def test_only_the_signed_routes_of_this_api(resource: str, expected: bool) -> None:
    """Slack's route is not signed, and another API is another's."""
    assert expected is may("execute-api:Invoke", arn_of("execute-api", resource))


def test_nothing_else_is_allowed() -> None:
    """Whoever adds an action here has to say so twice."""
    expected = {"ssm:StartSession", "ssm:TerminateSession", "ssm:ResumeSession", "ssmmessages:OpenDataChannel"}
    expected |= {"execute-api:Invoke"}

    assert expected == {action for statement in policy_of(user_policy("prod")) for action in statement.actions}


@pytest.fixture
def rds() -> Iterator[Any]:
    client.cache_clear()
    with mock_aws():
        yield lambda region: boto3.client("rds", region_name=region)
    client.cache_clear()


def a_catalogue(*, kind: str = "cluster", token: str = "local") -> Catalogue:
    text = EXAMPLE.read_text(encoding="utf-8")
    text = text.replace('cluster = "my-aurora"', f'{kind} = "my-aurora"').replace(
        'token = "modal"', f'token = "{token}"'
    )
    return load_catalogue(text, file="catalogue.toml")


def seed(rds: Any, kind: str) -> str:
    """The database; returns the resource id that RDS gave it, which is not its name."""
    login: dict[str, Any] = {"MasterUsername": "master", "MasterUserPassword": "not-used-here"}
    if kind == "cluster":
        given = {"DBClusterIdentifier": "my-aurora", "Engine": "aurora-postgresql", "EngineVersion": "16.4"}
        return str(rds("eu-west-1").create_db_cluster(**given, **login)["DBCluster"]["DbClusterResourceId"])
    given = {"DBInstanceIdentifier": "my-aurora", "Engine": "postgres", "EngineVersion": "16.4"}
    made = rds("eu-west-1").create_db_instance(DBInstanceClass="db.t4g.micro", AllocatedStorage=20, **given, **login)
    return str(made["DBInstance"]["DbiResourceId"])


@pytest.mark.parametrize("kind", ["cluster", "instance"])
@pytest.mark.parametrize("token", ["local", "modal"])
@pytest.mark.parametrize(("name", "levels"), [("alice", "rwo"), ("carol", "r"), ("release-pipeline", "rw")])
def test_a_policy_names_exactly_the_users_of_whom_it_is_for(
    rds: Any, capsys: pytest.CaptureFixture[str], kind: str, token: str, name: str, levels: str
) -> None:
    """One for each level that the person or machine may ask for, by the resource id, with no star.

    Where people get their tokens in Slack it is for the terminal client.
    """
    resource, catalogue = seed(rds, kind), a_catalogue(kind=kind, token=token)
    location, person = (
        catalogue.require_location("my-aurora-location"),
        catalogue.people.get(name) or Person.machine(name),
    )

    status = print_policy(location, name, catalogue=catalogue, rds=rds)

    (statement,) = json.loads(capsys.readouterr().out)["Statement"]
    roles = {
        person_role(location=location.name, person_id=person.person_id, level=PermissionLevel(level), name=name)
        for level in levels
    }
    assert 0 == status
    assert ("Allow", "rds-db:connect") == (statement["Effect"], statement["Action"])
    assert {f"arn:aws:rds-db:eu-west-1:123456789012:dbuser:{resource}/{role}" for role in roles} == set(
        statement["Resource"]
    )


@pytest.mark.parametrize(
    ("name", "token", "advice"),
    [
        ("alcie", "local", "Did you mean 'alice'?"),
        ("zoe", "local", "Add them to [people], or a machine to [machines], first."),
        ("dave", "modal", "may not ask for any access to my-aurora-location, .* Name them in 'who' of a level"),
        ("nightly-report", "modal", "Write its rules under [locations.my-aurora-location.machines.nightly-report] in"),
    ],
)
def test_who_gets_no_policy_is_told_why(rds: Any, name: str, token: str, advice: str) -> None:
    """Whoever is not listed, and whoever may have nothing."""
    text = EXAMPLE.read_text(encoding="utf-8").replace('who = "*"', 'who = ["alice", "bob", "carol"]')
    text = text.replace('token = "modal"', f'token = "{token}"').replace(
        "[people]", '[people]\ndave = { slack = "U0DAVE" }', 1
    )
    text += '[machines.nightly-report]\nrole = "arn:aws:iam::123456789012:role/NightlyReport"\n'
    catalogue = load_catalogue(text, file="catalogue.toml")
    seed(rds, "cluster")

    with pytest.raises(SettingsError, match=advice.replace("[", r"\[").replace("?", r"\?")):
        print_policy(catalogue.require_location("my-aurora-location"), name, catalogue=catalogue, rds=rds)
