"""The list that is ticked: each line holds, names what repairs it, or says why it could not be looked at."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.rds.models import rds_backends
from slack_sdk import WebClient

from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table
from chalicelib.domain.endings import Outcome
from chalicelib.domain.grants import GrantState
from chalicelib.domain.overviews import EndedRequest
from chalicelib.postgres.setup_check import Mark
from deployment.account import find_account
from deployment.doctor import examine_stage, print_list
from deployment.stacks import Stacks
from deployment.stage import find_stage
from local.slack.api import SlackStandIn
from tests.deployment.cloud import ACCOUNT, BOT_TOKEN, REGION, SIGNING_SECRET, STAGE, Operator, World, a_world, client
from tests.deployment.slack_workspace import a_workspace
from tests.factories import a_request

API = "https://abc123.execute-api.eu-west-1.amazonaws.com/api"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A stage that is ready, but for its database's owner."""
    with a_world(tmp_path) as made, a_workspace() as slack:
        made.web = lambda token: WebClient(token=token, base_url=slack.api_url)
        made.slack = slack  # type: ignore[attr-defined]  # for the tests that change it
        made.deploy(operator=Operator(types="y\n", secrets=[SIGNING_SECRET, BOT_TOKEN]))
        iam = client("iam")
        iam.create_role(RoleName="Developers", AssumeRolePolicyDocument="{}")
        iam.attach_role_policy(RoleName="Developers", PolicyArn=made.physical("UserPolicy"))
        yield made


@pytest.fixture
def slack(world: World) -> SlackStandIn:
    found: SlackStandIn = world.slack  # type: ignore[attr-defined]  # by the fixture
    return found


def stage_of(world: World, name: str = STAGE) -> Any:
    account = find_account(REGION)
    stacks = Stacks(account, say=print, pause=world.wait)
    return find_stage(name, catalogue_file=str(world.catalogue_file), stacks=stacks, account=account)


def lines(world: World, mark: Mark) -> list[str]:
    """What the findings of a mark say, each with its repair."""
    assert world.web is not None
    found = examine_stage(stage_of(world), world.web)
    return [f"{each.what} | {each.repair}" for each in found if each.mark is mark]


def only_line(world: World, mark: Mark) -> str:
    (line,) = lines(world, mark)
    return line


def shown(world: World, name: str = STAGE) -> tuple[int, str]:
    """The exit status, and what the operator sees."""
    assert world.web is not None
    operator = Operator()
    status = print_list(stage_of(world, name), terminal=operator.terminal, web=world.web)
    return status, operator.saw


def set_up(world: World, **changes: Any) -> None:
    """Note in the ledger that somebody had access."""
    request = a_request(location="my-aurora-location", asked_at=world.now)
    ended = EndedRequest(request=request, outcome=Outcome.FINISHED, ended_at=world.now, granted_at=world.now)
    ledger = DynamoRequestLedger(Table(client("dynamodb"), world.table))
    filed = ledger.file_request(request, origin_id="origin", open_limit=3).request
    assert filed is not None
    ledger.close_request(replace(ended, request=filed, **changes))


class TestWhole:
    def test_everything_is_ticked_once_access_was_given(self, world: World) -> None:
        """That it was given is what shows that the owner's SQL was run."""
        set_up(world)
        status, saw = shown(world)

        assert 0 == status
        assert "Everything is ticked. In Slack: /db-access" in saw
        assert "✓ my-aurora-location is set up: access to it was given on " in saw

    def test_before_that_the_owners_sql_is_the_next_step(self, world: World) -> None:
        """With the two commands, ready to be pasted."""
        status, saw = shown(world)

        named = f"my-aurora-location --locations {world.catalogue_file}"
        assert 1 == status
        assert f"  python -m deployment location sql {named}\n" in saw.partition("1 not ticked. Next:")[2]
        assert f"location check {named} --address 127.0.0.1:56789\n" in saw

    def test_access_that_failed_shows_nothing(self, world: World) -> None:
        set_up(world, outcome=Outcome.FAILED)

        assert 1 == shown(world)[0]

    def test_what_was_not_looked_at_is_said(self, world: World) -> None:
        assert "Not looked at: the address in the Slack app's settings" in shown(world)[1]

    def test_it_changes_nothing(self, world: World, slack: SlackStandIn) -> None:
        """Not even a message in the channel, and none that would come later."""
        shown(world)

        assert ([], {}) == (slack.messages("C0APPROVALS"), slack.scheduled)

    def test_no_secret_is_shown(self, world: World) -> None:
        assert [] == [each for each in (SIGNING_SECRET, BOT_TOKEN) if each in shown(world)[1]]

    def test_without_a_stack_deploying_is_the_next_step(self, world: World) -> None:
        status, saw = shown(world, "another")

        assert (1, True) == (status, saw.startswith("✗ there is no stack drawbridge-another in account 123456789012"))
        assert "1 not ticked. Next: there is no stack drawbridge-another" in saw


class TestSlack:
    def test_people_are_named_beside_their_ids(self, world: World) -> None:
        """Whoever reads the list sees at once whom an id really is."""
        held = lines(world, Mark.HOLDS)

        assert "alice is U0ALICE (alice) | " in held
        assert "bob is U0BOB (bob), approves for my-aurora-location | " in held

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"deleted": True}, "is deactivated"),
            ({"is_restricted": True}, "is a guest"),
            ({"is_bot": True}, "is a bot"),
            ({"team_id": "T0ELSEWHERE"}, "belongs to another workspace"),
        ],
    )
    def test_who_cannot_be_reached_or_trusted_is_named(
        self, world: World, slack: SlackStandIn, change: dict[str, Any], why: str
    ) -> None:
        slack.people["U0BOB"] = replace(slack.people["U0BOB"], **change)

        (line,) = lines(world, Mark.REPAIR)
        assert line.startswith(f"bob: U0BOB (bob) {why}, approves for my-aurora-location | Correct people.bob")

    def test_somebody_whom_slack_does_not_know(self, world: World, slack: SlackStandIn) -> None:
        del slack.people["U0ALICE"]

        assert only_line(world, Mark.REPAIR).startswith("alice: U0ALICE is unknown to the workspace | ")

    def test_the_bot_outside_the_approvals_channel(self, world: World, slack: SlackStandIn) -> None:
        slack.channels["C0APPROVALS"] = ("approvals", {"U0BOB"})

        line = only_line(world, Mark.REPAIR)
        assert line.startswith("the bot may not post in the approvals channel C0APPROVALS (not_in_channel)")
        assert "/invite @Drawbridge" in line

    def test_a_scope_that_is_missing(self, world: World, slack: SlackStandIn) -> None:
        """The whole manifest again, since Slack asks for scopes there."""
        slack._scopes.remove("commands")

        line = only_line(world, Mark.REPAIR)
        assert line.startswith("the app lacks the scopes commands | ")
        assert f"python -m deployment manifest {API} --locations {world.catalogue_file}" in line

    def test_a_scope_too_many_is_a_caution(self, world: World, slack: SlackStandIn) -> None:
        slack._scopes.append("channels:history")

        assert only_line(world, Mark.CAUTION).startswith("the app has scopes that it does not need: channels:history")

    def test_user_groups_are_asked_where_the_catalogue_has_them(self, world: World, slack: SlackStandIn) -> None:
        """A group in which nobody of the catalogue is approves nothing."""
        world.write(
            world.cloud.catalogue().replace('approvers = ["bob"]', 'approvers = ["bob"], approver_groups = ["S0DB"]')
        )
        slack._scopes.append("usergroups:read")
        slack.groups = {"S0DB": {"U0STRANGER"}}

        assert any(
            line.startswith("nobody of the catalogue is in the user group S0DB") for line in lines(world, Mark.REPAIR)
        )

    def test_the_token_of_another_app(self, world: World, slack: SlackStandIn) -> None:
        slack.app_id = "A0OTHER"

        assert only_line(world, Mark.REPAIR).startswith(
            "the bot token is the app A0OTHER's, and the stored app is A0EXAMPLE"
        )

    def test_a_token_that_slack_refuses(self, world: World, slack: SlackStandIn) -> None:
        """Then nothing more can be asked; AWS's lines go on."""
        slack.bot_token = "xoxb-renewed"

        line = only_line(world, Mark.REPAIR)
        assert line.startswith("the app is not installed, or its token is not the stored one")
        assert "--slack" in line
        assert "IAM database authentication is on | " in lines(world, Mark.HOLDS)

    def test_a_slack_that_does_not_answer_is_unknown(self, world: World, slack: SlackStandIn) -> None:
        """It may be well."""
        slack.fail_next("users.info", error="internal_error", times=1)

        assert any(line.startswith("alice: Slack did not take") for line in lines(world, Mark.UNKNOWN))

    def test_secrets_that_are_not_stored(self, tmp_path: Path) -> None:
        with a_world(tmp_path) as bare:
            bare.deploy()
            bare.web = lambda _: WebClient()
            found = lines(bare, Mark.REPAIR)

        assert found[0].startswith("Slack's secrets are not stored, so neither the app nor the people were looked at")


class TestAws:
    def test_a_catalogue_that_is_not_the_deployed_one(self, world: World) -> None:
        """Whoever reviews a change sees whether it is there already."""
        world.write(f"budget = 7.0\n{world.cloud.catalogue()}")

        assert f"{world.catalogue_file} is not the catalogue that is deployed" in only_line(world, Mark.REPAIR)

    def test_a_comment_makes_no_other_catalogue(self, world: World) -> None:
        """Functions are packed without it."""
        world.write(f"# reviewed\n{world.cloud.catalogue()}")

        assert f"the catalogue is deployed as it is in {world.catalogue_file} | " in lines(world, Mark.HOLDS)

    def test_a_stack_that_failed(self, world: World) -> None:
        (stack,) = cloudformation_backends[ACCOUNT][REGION].stacks.values()
        stack.status = "UPDATE_ROLLBACK_FAILED"

        assert only_line(world, Mark.REPAIR).startswith("the stack drawbridge-example is UPDATE_ROLLBACK_FAILED")

    def test_iam_authentication_that_is_off(self, world: World) -> None:
        """Moto changes it at no request."""
        rds_backends[ACCOUNT][REGION].clusters["my-aurora"].iam_auth = False

        assert "--enable-iam-database-authentication" in only_line(world, Mark.REPAIR)

    @pytest.mark.parametrize(
        ("group", "who"),
        [("BastionMainSecurityGroup", "the bastion main"), ("DatabaseFunctionsSecurityGroup", "the functions")],
    )
    def test_a_path_that_is_shut(self, world: World, group: str, who: str) -> None:
        """Somebody removed the rule that the stack made."""
        pair = {
            "IpProtocol": "tcp",
            "FromPort": 5432,
            "ToPort": 5432,
            "UserIdGroupPairs": [{"GroupId": world.physical(group)}],
        }
        client("ec2").revoke_security_group_ingress(GroupId=world.cloud.database_group, IpPermissions=[pair])

        assert only_line(world, Mark.REPAIR).startswith(f"port 5432 of my-aurora is shut to {who} | ")

    def test_a_rule_for_another_port_opens_nothing(self, world: World) -> None:
        client("rds").modify_db_cluster(DBClusterIdentifier="my-aurora", Port=5433)

        assert any(line.startswith("port 5433 of my-aurora is shut") for line in lines(world, Mark.REPAIR))

    def test_a_database_that_was_restored(self, world: World) -> None:
        """It has another resource id, and every policy names the old one."""
        rds_backends[ACCOUNT][REGION].clusters["my-aurora"].db_cluster_resource_id = "cluster-RESTORED"

        line = only_line(world, Mark.REPAIR)
        assert line.startswith("my-aurora has changed since it was deployed")
        assert "cluster-RESTORED now" in line

    def test_a_database_that_is_gone(self, world: World) -> None:
        text = world.cloud.catalogue().replace('cluster = "my-aurora"', 'cluster = "gone"')
        world.write(text)

        assert any("RDS knows no cluster 'gone'" in line for line in lines(world, Mark.REPAIR))

    def test_nobody_holds_the_policy(self, world: World) -> None:
        """Then nobody may open a tunnel."""
        client("iam").detach_role_policy(RoleName="Developers", PolicyArn=world.physical("UserPolicy"))

        line = only_line(world, Mark.REPAIR)
        assert line.startswith("DrawbridgeUser-example is attached to nobody")
        assert "IAM Identity Center" in line

    def test_a_role_in_which_somebody_could_call_themselves_anybody(self, world: World) -> None:
        """It is the last thing of the list."""
        world.write(
            world.cloud.catalogue().replace(
                '"U0ALICE"', '"U0ALICE", aws = ["arn:aws:sts::123456789012:assumed-role/Developers/alice"]'
            )
            + '[api]\nfixed_session_names = ["Developers"]\n'
        )
        iam = client("iam")
        open_to_all = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ACCOUNT}},
        }
        iam.update_assume_role_policy(RoleName="Developers", PolicyDocument=json.dumps(open_to_all))

        assert (
            "whoever may assume the role Developers chooses the name of their session" in lines(world, Mark.REPAIR)[-1]
        )

    def test_access_without_its_receipt(self, world: World) -> None:
        """Past its end by minutes, and not gone."""
        grant = world.give()
        late = replace(grant, state=GrantState.ENDING, ends_at=world.now - timedelta(minutes=5))
        world.grants.replace_grant(grant, late)

        line = only_line(world, Mark.REPAIR)
        assert line.startswith(
            "access is past its end and has no receipt yet:\n  R-ABC234: alice, o on my-aurora-location"
        )

    def test_live_access_is_counted(self, world: World) -> None:
        world.give()

        assert "no access waits for its receipt (1 live now) | " in lines(world, Mark.HOLDS)

    def test_the_way_out_is_ticked(self, world: World) -> None:
        """Before a bastion ever starts: one that never comes online is what goes wrong first."""
        assert any("bastions reach Session Manager by a NAT" in line for line in lines(world, Mark.HOLDS))

    def test_a_way_out_that_was_closed(self, world: World) -> None:
        """Somebody removed the route to the NAT."""
        (table,) = client("ec2").describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [world.cloud.vpc]}])[
            "RouteTables"
        ]
        client("ec2").delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")

        line = only_line(world, Mark.REPAIR)
        assert line.startswith(f"From {', '.join(sorted(world.cloud.subnets))} nothing leads out")
        assert "--interface-endpoints" in line

    def test_subnets_that_begin_to_give_addresses(self, world: World) -> None:
        """The stage was deployed without --public-subnets, so its bastions may take none."""
        world.cloud.give_addresses(True)

        assert sorted(world.cloud.subnets) == [line.partition(" ")[0] for line in lines(world, Mark.REPAIR)]

    def test_no_bastion_is_as_it_should_be(self, world: World) -> None:
        """None runs while nobody needs one."""
        assert any(line.startswith("no bastion main runs now") for line in lines(world, Mark.HOLDS))

    @pytest.mark.parametrize(
        ("agent", "mark", "said"),
        [
            ({"PingStatus": "Online", "AgentVersion": "3.3.859.0"}, Mark.HOLDS, "is online, agent 3.3.859.0"),
            (
                {"PingStatus": "Online", "AgentVersion": "3.1.1188.0"},
                Mark.REPAIR,
                "is 3.1.1188.0, older than 3.1.1374.0",
            ),
            (
                {"PingStatus": "ConnectionLost", "AgentVersion": "3.3.859.0"},
                Mark.REPAIR,
                "is not online in Session Manager",
            ),
            (None, Mark.REPAIR, "is not online in Session Manager"),
        ],
    )
    def test_a_bastion_that_runs(self, world: World, agent: dict[str, str] | None, mark: Mark, said: str) -> None:
        instance = world.launch()
        world.agents.known = [{"InstanceId": instance, **agent}] if agent else []

        (line,) = [each for each in lines(world, mark) if instance in each]
        assert said in line

    def test_another_stages_bastion_is_not_ours(self, world: World) -> None:
        theirs = world.launch(**{"drawbridge:stage": "prod"})

        assert [] == [line for mark in Mark for line in lines(world, mark) if theirs in line]

    def test_a_question_that_aws_does_not_answer_stops_no_other(self, world: World) -> None:
        """It is unknown, with the reason."""
        world.agents.known = "nonsense"  # type: ignore[assignment]  # so that the stand-in fails
        world.launch()

        assert any(line.startswith("how the bastion main is: ") for line in lines(world, Mark.UNKNOWN))
        assert any(line.startswith("DrawbridgeUser-example is attached to") for line in lines(world, Mark.HOLDS))
