"""The doctor's look at whom a call stands for: trust policies, roles that only look like Identity Center's, machines' roles."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.aws.clients import client as shared_client
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.postgres.setup_check import Mark
from deployment.account import Account
from deployment.caller_findings import examine_callers, lets_callers_choose_the_name
from deployment.stage import Stage

ACCOUNT = "123456789012"
STS = f"arn:aws:sts::{ACCOUNT}:assumed-role"
SSO = "AWSReservedSSO_Dev_0123456789abcdef"
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


def statement(condition: Any = None, action: Any = "sts:AssumeRole", **more: Any) -> dict[str, Any]:
    made = {"Effect": "Allow", "Principal": ROOT, "Action": action, **more}
    return made if condition is None else {**made, "Condition": condition}


def named(value: Any, *, operator: str = "StringEquals", key: str = "sts:RoleSessionName") -> dict[str, Any]:
    return {operator: {key: value}}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


FIXED = policy(statement(named("${aws:username}")))
OPEN = policy(statement())


@pytest.mark.parametrize(
    "document",
    [
        {},
        FIXED,
        {"Statement": statement(named("${aws:username}"))},
        policy(statement(named(["${aws:username}"], operator="stringlike", key="STS:RoleSessionName"))),
        policy(statement(named("alice@example.com")), statement(named("bob@example.com"))),
        policy(statement(named("${aws:username}") | {"Bool": {"aws:MultiFactorAuthPresent": "true"}})),
        policy(statement(named("${aws:username}@example.com"))),
        policy(statement(action="sts:AssumeRoleWithSAML")),
        policy(statement(action=["sts:TagSession", "sts:SetSourceIdentity"])),
        policy(statement(Effect="Deny")),
    ],
)
def test_a_name_is_fixed_where_every_statement_fixes_it(document: dict[str, Any]) -> None:
    """To one, or to the name of the IAM user who asks; in SAML the identity provider says it."""
    assert not lets_callers_choose_the_name(document)


@pytest.mark.parametrize(
    "document",
    [
        OPEN,
        policy(statement(named("${aws:username}")), statement()),
        policy(statement(named("${aws:username}")), statement(action="sts:AssumeRoleWithWebIdentity")),
        policy(statement(named(["alice", "bob"]))),
        policy(statement(named([]))),
        policy(statement(named("*", operator="StringLike"))),
        policy(statement(named("${aws:username}*", operator="StringLike"))),
        policy(statement(named("${sts:RoleSessionName}"))),
        policy(statement(named("${aws:RequestTag/name}"))),
        policy(statement(named("${aws:username}", operator="StringEqualsIfExists"))),
        policy(statement(named("${aws:username}", operator="StringNotEquals"))),
        policy(statement(named("${aws:username}", operator="ForAllValues:StringEquals"))),
        policy(statement(named("${aws:username}", key="sts:SourceIdentity"))),
        policy(statement(action="sts:*")),
        policy(statement(action="*")),
        policy(statement(action=["sts:TagSession", "STS:assumerole"])),
        policy({"Effect": "Allow", "Principal": ROOT, "NotAction": "sts:TagSession"}),
        policy(statement(Principal={"Service": "lambda.amazonaws.com"})),
    ],
)
def test_a_name_is_open_where_one_statement_leaves_it_so(document: dict[str, Any]) -> None:
    """Whatever else stands there. A service's session is named by whoever uses the service."""
    assert lets_callers_choose_the_name(document)


@pytest.fixture(autouse=True)
def aws() -> Iterator[None]:
    shared_client.cache_clear()
    with mock_aws():
        yield
    shared_client.cache_clear()


def make_role(name: str, trust: dict[str, Any], path: str = "/") -> None:
    boto3.client("iam", region_name="eu-west-1").create_role(
        RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust)
    )


def forbid_listing() -> None:
    """The operator's identity may not list roles."""

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "ListRoles")

    shared_client("iam", "eu-west-1").meta.events.register("before-call.iam.ListRoles", refuse)


def findings(*aws: str, machines: str = "", fixed: str = '"Developer"') -> list[tuple[Mark, str]]:
    """What is found about alice's patterns and the machines."""
    text = f"""
[slack]
team = "T0EXAMPLE"
approvals_channel = "C0APPROVALS"
[people]
alice = {{ slack = "U0ALICE", aws = {json.dumps(list(aws))} }}
{machines}
[api]
fixed_session_names = [{fixed}]
[bastions.main]
subnets = ["subnet-a"]
[locations.orders]
cluster = "orders"
database = "orders"
region = "eu-west-1"
environment = "prod"
bastion = "main"
[locations.orders.levels]
r = {{ who = "*", automatic = true }}
"""
    stage = Stage(
        name="prod",
        catalogue_file="catalogue.toml",
        catalogue=load_catalogue(text, file="catalogue.toml"),
        account=Account(number=ACCOUNT, region="eu-west-1", caller=f"arn:aws:iam::{ACCOUNT}:user/operator"),
        stacks={},
    )
    return [(each.mark, f"{each.what} | {each.repair}") for each in examine_callers(stage)]


class TestRoles:
    def test_a_role_that_is_vouched_for_and_keeps_it_is_ticked(self) -> None:
        """Its sessions are people."""
        make_role("Developer", FIXED)

        assert [(Mark.HOLDS, "nobody may choose the name of a session of the role Developer | ")] == findings(
            f"{STS}/Developer/alice"
        )

    def test_a_role_that_is_vouched_for_and_does_not_is_to_be_repaired(self) -> None:
        """With the condition that its trust policy lacks."""
        make_role("Developer", OPEN)
        ((mark, line),) = findings(f"{STS}/Developer/alice")

        assert Mark.REPAIR is mark
        assert "whoever may assume the role Developer chooses the name of their session" in line
        assert '"StringEquals": {"sts:RoleSessionName": "${aws:username}"}' in line
        assert "take Developer out of api.fixed_session_names" in line

    @pytest.mark.parametrize(("trust", "words"), [(OPEN, "is chosen by whoever assumes it"), (FIXED, "is fixed by")])
    def test_a_role_that_is_not_vouched_for_is_mentioned(self, trust: dict[str, Any], words: str) -> None:
        """Nobody calls by it, and tunnels are told apart by it."""
        make_role("Developer", trust)
        ((mark, line),) = findings(f"{STS}/Dev*/alice", fixed="")

        assert Mark.CAUTION is mark
        assert words in line

    def test_a_role_that_is_not_there_is_missed_where_it_is_vouched_for(self) -> None:
        """A misspelt name in the catalogue."""
        ((mark, line),) = findings(f"{STS}/Developer/alice")

        assert Mark.REPAIR is mark
        assert f"Developer, is not there in account {ACCOUNT}" in line

    def test_identity_centers_roles_are_ticked(self) -> None:
        """Their trust policy names a SAML provider."""
        make_role(SSO, policy(statement(action="sts:AssumeRoleWithSAML")), "/aws-reserved/sso.amazonaws.com/eu-west-1/")

        assert [(Mark.HOLDS, f"sessions of {SSO} bear the names that Identity Center gives them | ")] == findings(
            f"{STS}/AWSReservedSSO_Dev_*/alice@example.com"
        )

    def test_a_role_that_only_looks_like_one_is_to_be_deleted(self) -> None:
        """A session's ARN does not show the path, which is what tells the two apart."""
        make_role(SSO, FIXED)
        ((mark, line),) = findings(f"{STS}/AWSReservedSSO_Dev_*/alice@example.com")

        assert Mark.REPAIR is mark
        assert f"the role {SSO} is not Identity Center's" in line

    @pytest.mark.parametrize(
        "pattern",
        [
            "arn:aws:sts::210987654321:assumed-role/Developer/alice",
            f"arn:aws:iam::{ACCOUNT}:user/alice",
            f"{STS}/Operator/alice",
            f"{STS}/Developer/*",
        ],
        ids=["another account's", "a user", "another role", "any session"],
    )
    def test_a_pattern_that_vouches_for_no_caller_by_this_role_says_nothing_of_it(self, pattern: str) -> None:
        """However open the role is."""
        make_role("Developer", OPEN)

        assert [] == findings(pattern)

    def test_where_nobody_calls_aws_is_not_asked(self) -> None:
        """The operator may not even be allowed to."""
        forbid_listing()

        assert [] == findings()


class TestMachines:
    ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/Release"
    MACHINE = f'[machines.release]\nrole = "{ROLE}"'

    def test_its_role_is_there(self) -> None:
        """Whatever its sessions are called."""
        make_role("Release", OPEN, "/ci/")

        assert [(Mark.HOLDS, "the machine release calls with the role Release | ")] == findings(machines=self.MACHINE)

    def test_its_role_is_not_there(self) -> None:
        """Nothing could call."""
        ((mark, line),) = findings(machines=self.MACHINE)

        assert Mark.REPAIR is mark
        assert f"the role of the machine release, Release, is not there in account {ACCOUNT}" in line
        assert "correct machines.release in the catalogue" in line

    def test_its_role_lies_elsewhere(self) -> None:
        """A call does not show the path, so it would be taken all the same."""
        make_role("Release", OPEN)
        ((mark, line),) = findings(machines=self.MACHINE)

        assert Mark.REPAIR is mark
        assert f"the role of the machine release is arn:aws:iam::{ACCOUNT}:role/Release, not {self.ROLE}" in line

    def test_what_aws_does_not_answer_is_unknown(self) -> None:
        """And keeps no other question from being asked."""
        forbid_listing()
        ((mark, line),) = findings(machines=self.MACHINE)

        assert Mark.UNKNOWN is mark
        assert line.startswith("whose calls the API takes: ")
        assert "list the roles of the account" in line


def test_the_example_is_looked_at_whole() -> None:
    """Its patterns and its machine are of one account."""
    example = Path(__file__).parents[2] / "docs" / "catalogue.toml"
    catalogue = load_catalogue(example.read_text(encoding="utf-8"), file=example.name)
    account = Account(number=ACCOUNT, region="eu-west-1", caller=f"arn:aws:iam::{ACCOUNT}:user/operator")
    stage = Stage(name="prod", catalogue_file=str(example), catalogue=catalogue, account=account, stacks={})
    make_role("ReleasePipeline", OPEN)
    make_role(SSO, {}, "/aws-reserved/sso.amazonaws.com/")

    assert [Mark.HOLDS, Mark.HOLDS] == [finding.mark for finding in examine_callers(stage)]
