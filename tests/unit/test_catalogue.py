"""The catalogue's one loader: every key is read, and every mistake is named with its file, its key and its reason."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.errors import CatalogueError, UnknownLocationError
from chalicelib.domain.locations import BastionGroup, DatabaseKind, Isolation, SessionDocument, TokenSource
from chalicelib.domain.people import Person
from tests.factories import OPERATE, READ, WRITE, a_catalogue, a_location
from tests.strategies import RULE

EXAMPLE = Path(__file__).parents[2] / "docs" / "catalogue.toml"
PLAIN = """
[slack]
team = "T0EXAMPLE"
approvals_channel = "C0APPROVALS"

[people]
alice = { slack = "U0ALICE" }
bob = { slack = "U0BOB" }

[bastions.main]
subnets = ["subnet-a"]

[locations.orders]
cluster = "orders-cluster"
database = "orders"
region = "eu-west-1"
environment = "prod"
bastion = "main"

[locations.orders.levels]
r = { who = "*", approvers = ["bob"] }
"""


def load(text: str) -> Catalogue:
    return load_catalogue(text, file="catalogue.toml")


def with_line(line: str, *, after: str) -> str:
    """The plain catalogue with one more line."""
    assert 1 == PLAIN.count(after)
    return PLAIN.replace(after, f"{after}\n{line}")


def changed(old: str, new: str) -> str:
    """The plain catalogue with a piece replaced."""
    assert 1 == PLAIN.count(old)
    return PLAIN.replace(old, new)


class TestTheExample:
    """docs/catalogue.toml, which shows every key."""

    catalogue = load_catalogue(EXAMPLE.read_text(encoding="utf-8"), file=EXAMPLE.name)

    def test_the_location_is_read_whole(self) -> None:
        """Each key of the example arrives where it belongs."""
        location = self.catalogue.require_location("my-aurora-location")

        assert (
            DatabaseKind.CLUSTER,
            "my-aurora",
            "depotpostgres",
            "eu-west-1",
            "prod",
            "main",
            ("subnet-a", "subnet-b"),
            56789,
            Isolation.STRICT,
            frozenset({"postgres"}),
            TokenSource.MODAL,
            SessionDocument.LOCATION,
            True,
            10,
        ) == (
            location.kind,
            location.identifier,
            location.database,
            location.region,
            location.environment,
            location.bastion.name,
            location.bastion.subnets,
            location.port,
            location.isolation,
            location.also_readable,
            location.token,
            location.document,
            location.warm_up,
            location.max_people,
        )

    def test_the_bastion_group_is_read_whole(self) -> None:
        """With its VPC and whose database functions reach its databases."""
        assert (
            BastionGroup(name="main", subnets=("subnet-a", "subnet-b"), vpc="vpc-0123456789abcdef0", provisioner="main")
            == self.catalogue.bastions["main"]
        )

    def test_the_rules_are_read_whole(self) -> None:
        """Of the level with every key, and of the shortest one."""
        levels = self.catalogue.require_location("my-aurora-location").levels
        write = levels[WRITE]
        assert write.hours is not None
        assert write.break_glass is not None

        assert (
            frozenset({"alice"}),
            False,
            frozenset({"bob", "carol"}),
            2,
            7200,
            "Mon-Fri 07:00-19:00 Europe/Berlin",
            frozenset({"alice"}),
            86_400,
        ) == (
            write.who,
            write.automatic,
            write.approvers,
            write.needed,
            write.cap_seconds,
            write.hours.text,
            write.break_glass.who,
            write.break_glass.review_within_seconds,
        )
        assert (True, 8 * 3600) == (levels[READ].automatic, levels[READ].cap_seconds)

    def test_people_are_found_by_team_and_user(self) -> None:
        """And nobody from elsewhere is."""
        found = self.catalogue.find_person(team="T0EXAMPLE", slack="U0BOB")
        assert found is not None

        assert "bob" == found.name
        assert ("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_*/bob@example.com",) == found.aws
        assert self.catalogue.find_person(team="T0OTHER", slack="U0BOB") is None
        assert self.catalogue.find_person(team="T0EXAMPLE", slack="U0STRANGER") is None


class TestMachinesOfTheExample:
    """The pipeline of docs/catalogue.toml."""

    catalogue = TestTheExample.catalogue
    machine = Person.machine("release-pipeline")

    def test_it_is_found_by_any_session_of_its_role(self) -> None:
        """Its sessions are named by whoever starts the pipeline."""
        arn = "arn:aws:sts::123456789012:assumed-role/ReleasePipeline/GitHubActions"

        assert self.machine == self.catalogue.find_caller(arn)
        assert self.machine == self.catalogue.find_listed(self.machine)

    def test_it_has_rules_of_its_own(self) -> None:
        """Of each level that it is offered; what is offered to everybody is not."""
        location = self.catalogue.require_location("my-aurora-location")
        read, write = location.find_rule(READ, self.machine), location.find_rule(WRITE, self.machine)
        assert read is not None
        assert write is not None

        assert (True, 900) == (read.automatic, read.cap_seconds)
        assert (False, {"carol"}, 1, 900, None) == (
            write.automatic,
            write.approvers,
            write.needed,
            write.cap_seconds,
            write.break_glass,
        )
        assert location.find_rule(OPERATE, self.machine) is None

    def test_a_person_calls_as_the_same_person_as_in_slack(self) -> None:
        """By Identity Center's role and their own user name."""
        arn = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_0123456789abcdef/bob@example.com"

        assert self.catalogue.find_person(team="T0EXAMPLE", slack="U0BOB") == self.catalogue.find_caller(arn)

    def test_the_roles_with_fixed_session_names_are_read(self) -> None:
        """Besides Identity Center's."""
        assert {"Developer"} == self.catalogue.fixed_session_names


class TestBudget:
    def test_the_example_has_one(self) -> None:
        """Three dollars a month."""
        assert 3.0 == TestTheExample.catalogue.budget_dollars

    @pytest.mark.parametrize(("text", "dollars"), [("", None), ("budget = 0.5", 0.5), ("budget = 10000", 10_000.0)])
    def test_it_is_a_number_of_dollars_or_missing(self, text: str, dollars: float | None) -> None:
        """Without one nothing is ever stopped."""
        assert dollars == load(f"{text}\n{PLAIN}").budget_dollars

    @pytest.mark.parametrize("value", ["0", "-1", "10001", "true", '"3"', "nan", "inf", "[3]"])
    def test_what_is_no_sensible_budget_is_refused(self, value: str) -> None:
        """A mistake must not stop everything, or nothing."""
        with pytest.raises(CatalogueError) as caught:
            load(f"budget = {value}\n{PLAIN}")

        assert "budget" == caught.value.key


class TestBreakGlass:
    LINE = 'r = { who = "*", approvers = ["bob"] }'

    @pytest.mark.parametrize(
        ("rule", "reason"),
        [
            ('{ who = ["bob"], automatic = true, break_glass = { who = ["alice"] } }', "does not let them have"),
            (
                '{ who = "*", automatic = true, break_glass = { who = ["alice"] } }',
                "nobody in 'approvers' could review",
            ),
            (
                '{ who = "*", automatic = true, approvers = ["alice"], break_glass = { who = ["alice"] } }',
                "nobody in 'approvers' could review",
            ),
        ],
    )
    def test_access_that_nobody_else_could_review_is_refused(self, rule: str, reason: str) -> None:
        """And so is what its taker may not even ask for."""
        with pytest.raises(CatalogueError, match=reason):
            load(changed(self.LINE, f"r = {rule}"))

    def test_it_is_read_with_its_deadline(self) -> None:
        """A day if nothing else is said."""
        text = changed(self.LINE, 'r = { who = "*", approvers = ["bob"], break_glass = { who = ["alice"] } }')
        glass = load(text).locations["orders"].levels[READ].break_glass

        assert glass is not None
        assert ({"alice"}, 86_400) == (glass.who, glass.review_within_seconds)


def test_what_is_left_out_has_its_default() -> None:
    """A location needs six keys and a rule."""
    location = load(PLAIN).require_location("orders")

    assert (56789, Isolation.STRICT, frozenset(), TokenSource.MODAL, SessionDocument.LOCATION, True, 10) == (
        location.port,
        location.isolation,
        location.also_readable,
        location.token,
        location.document,
        location.warm_up,
        location.max_people,
    )
    assert BastionGroup(name="main", subnets=("subnet-a",), vpc=None, provisioner="main") == location.bastion
    assert (1, 8 * 3600, None, None) == (
        location.levels[READ].needed,
        location.levels[READ].cap_seconds,
        location.levels[READ].hours,
        location.levels[READ].break_glass,
    )


def test_an_instance_may_be_named_instead_of_a_cluster() -> None:
    """RDS without Aurora."""
    location = load(changed('cluster = "orders-cluster"', 'instance = "orders-db"')).require_location("orders")

    assert (DatabaseKind.INSTANCE, "orders-db") == (location.kind, location.identifier)


def bastions(*groups: str) -> str:
    """The plain catalogue with further bastion groups."""
    return PLAIN + "".join(f"\n[bastions.more-{number}]\n{group}\n" for number, group in enumerate(groups))


SUBNETS = 'subnets = ["subnet-b"]'
NEAR, FAR = 'vpc = "vpc-0000000000000000a"', 'vpc = "vpc-0000000000000000b"'


class TestProvisioners:
    """A database function is in one VPC."""

    @pytest.mark.parametrize(
        "groups",
        [
            [f"{SUBNETS}\n{NEAR}", f"{SUBNETS}\n{NEAR}"],
            [f"{SUBNETS}\n{NEAR}", f'{SUBNETS}\n{FAR}\nprovisioner = "far"'],
            [f"{SUBNETS}\n{NEAR}", SUBNETS],
            [f'{SUBNETS}\nprovisioner = "far"', f'{SUBNETS}\n{FAR}\nprovisioner = "far"'],
        ],
        ids=["one VPC", "one for each", "a VPC that is not said", "said once"],
    )
    def test_one_serves_all_groups_of_a_vpc(self, groups: list[str]) -> None:
        """A group that says no VPC is in the one that the stage is deployed to, which only AWS knows."""
        assert {"main", "more-0", "more-1"} == set(load(bastions(*groups)).bastions)

    @pytest.mark.parametrize("said", ["", '\nprovisioner = "far"'])
    def test_one_cannot_serve_two_vpcs(self, said: str) -> None:
        """Its functions could not reach the databases of one of them."""
        with pytest.raises(CatalogueError, match=r"in vpc-0000000000000000a, by \[bastions\.more-0\]") as caught:
            load(bastions(f"{SUBNETS}\n{NEAR}{said}", f"{SUBNETS}\n{FAR}{said}"))

        assert "bastions.more-1.provisioner" == caught.value.key


DATABASE = 'database = "orders"'
RULE_LINE = 'r = { who = "*", approvers = ["bob"] }'
RULE_KEY = "locations.orders.levels.r"
CI = 'role = "arn:aws:iam::123456789012:role/Ci"'
CI_KEY = "locations.orders.machines.ci.r"
MACHINE_RULE = '\n[locations.orders.machines.ci]\nr = { approvers = ["bob"] }\n'
USER = "arn:aws:iam::123456789012:user/x"


def machine(*lines: str, name: str = "ci") -> str:
    """The plain catalogue with a machine."""
    return "\n".join((PLAIN, f"[machines.{name}]", *lines, ""))


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[slack", "(the file)", "is not TOML"),
        (changed("[slack]", "[slak]"), "slack", "is missing; it must be a table"),
        ("nothing = 1\n" + PLAIN, "nothing", "is not a key of the catalogue"),
        (changed('team = "T0EXAMPLE"', ""), "slack.team", "is missing; it must be text"),
        (changed('team = "T0EXAMPLE"', "team = 7"), "slack.team", "must be text, not int"),
        (changed('team = "T0EXAMPLE"', 'team = "t0"'), "slack.team", "does not look like one"),
        (with_line('channel = "C0"', after='team = "T0EXAMPLE"'), "slack.channel", "is not a key"),
        (changed('bob = { slack = "U0BOB" }', "bob = {}"), "people.bob.slack", "is missing"),
        (changed('bob = { slack = "U0BOB" }', 'bob = "U0BOB"'), "people.bob", "must be a table, not str"),
        (changed('{ slack = "U0BOB" }', '{ slack = "U0BOB", aws = "arn" }'), "people.bob.aws", "a list of texts"),
        (changed('{ slack = "U0BOB" }', '{ slack = "U0BOB", aws = [1] }'), "people.bob.aws", "a list of texts"),
        (changed('{ slack = "U0BOB" }', '{ slack = "U0BOB", aws = [""] }'), "people.bob.aws", "a list of texts"),
        (changed('{ slack = "U0BOB" }', '{ slack = "U0BOB", mail = "b" }'), "people.bob.mail", "is not a key"),
        (changed('"U0BOB"', '"U0ALICE"'), "people.bob.slack", "is the Slack user of 'alice' already"),
        (with_line('Eve = { slack = "U0EVE" }', after="[people]"), "people.Eve", "is no name"),
        (with_line('"e ve" = { slack = "U0EVE" }', after="[people]"), "people.e ve", "is no name"),
        (with_line('"x.alice" = { slack = "U0EVE" }', after="[people]"), "people.x.alice", "is no name"),
        (changed('["subnet-a"]', "[]"), "bastions.main.subnets", "lists no subnet"),
        (changed('["subnet-a"]', '["subnet-a"]\nvpc = "main"'), "bastions.main.vpc", "does not look like one"),
        (changed('["subnet-a"]', '["subnet-a"]\nvpc = ["vpc-0a1b2c3d"]'), "bastions.main.vpc", "must be text, not list"),
        (changed('["subnet-a"]', '["subnet-a"]\nprovisioner = "A b"'), "bastions.main.provisioner", "look like one"),
        (changed("[bastions.main]", '[bastions."x.main"]'), "bastions.x.main", "is no name"),
        (changed("[bastions.main]", '[bastions."../main"]'), "bastions.../main", "is no name"),
        (with_line('instance = "db"', after=DATABASE), "locations.orders.cluster", "either a cluster or an instance"),
        (changed('cluster = "orders-cluster"', ""), "locations.orders.cluster", "either a cluster or an instance"),
        (changed('"orders-cluster"', '"orders;rm"'), "locations.orders.cluster", "does not look like one"),
        (changed('bastion = "main"', 'bastion = "mian"'), "locations.orders.bastion", "no bastion is called 'mian'"),
        (changed('bastion = "main"', ""), "locations.orders.bastion", "is missing"),
        (changed(DATABASE, "database = 'a\"b'"), "locations.orders.database", "does not look like one"),
        (changed('"eu-west-1"', '"Europe"'), "locations.orders.region", "does not look like one"),
        (with_line("port = 80", after=DATABASE), "locations.orders.port", "between 1024 and 65535"),
        (with_line('port = "56789"', after=DATABASE), "locations.orders.port", "a whole number, not str"),
        (with_line("port = true", after=DATABASE), "locations.orders.port", "a whole number, not bool"),
        (with_line("port = 5678.9", after=DATABASE), "locations.orders.port", "a whole number, not float"),
        (with_line('isolation = "lax"', after=DATABASE), "locations.orders.isolation", "one of strict, warn"),
        (with_line('token = "mail"', after=DATABASE), "locations.orders.token", "one of modal, local"),
        (with_line('document = "mine"', after=DATABASE), "locations.orders.document", "one of location, aws"),
        (with_line('warm_up = "yes"', after=DATABASE), "locations.orders.warm_up", "true or false, not str"),
        (with_line("max_people = 0", after=DATABASE), "locations.orders.max_people", "between 1 and 1000"),
        (with_line('also_readable = "x"', after=DATABASE), "locations.orders.also_readable", "a list of texts"),
        (with_line("prot = 56789", after=DATABASE), "locations.orders.prot", "is not a key of the catalogue"),
        (PLAIN.replace("locations.orders", 'locations."x.orders"'), "locations.x.orders", "is no name"),
        (changed(RULE_LINE, ""), "locations.orders.levels", "offers no level"),
        (changed("r = {", "x = {"), "locations.orders.levels.x", "is not a key"),
        (changed(RULE_LINE, RULE_LINE + "\nx = {}"), "locations.orders.levels.x", "is not a key"),
        (changed(', approvers = ["bob"] }', " }"), f"{RULE_KEY}.approvers", "nobody who may ask"),
        (changed('["bob"]', '["rob"]'), f"{RULE_KEY}.approvers", "nobody in [people] is called 'rob'"),
        (changed('["bob"]', '"*"'), f"{RULE_KEY}.approvers", "a list of texts"),
        (changed('who = "*"', 'who = "alice"'), f"{RULE_KEY}.who", "a list of texts"),
        (changed('who = "*"', 'who = ["*"]'), f"{RULE_KEY}.who", "nobody in [people] is called '*'"),
        (changed('who = "*", ', ""), f"{RULE_KEY}.who", "is missing"),
        (changed('"*", approvers', '["bob"], approvers'), f"{RULE_KEY}.approvers", "nobody who may ask"),
        (changed('"*", approvers', "[], approvers"), f"{RULE_KEY}.approvers", "nobody who may ask"),
        (changed('["bob"] }', '["bob"], needed = 2 }'), f"{RULE_KEY}.approvers", "need fewer"),
        (changed('["bob"] }', '["bob"], needed = 0 }'), f"{RULE_KEY}.needed", "between 1 and 10"),
        (changed('["bob"] }', '["bob"], cap = "soon" }'), f"{RULE_KEY}.cap", "a duration such as"),
        (changed('["bob"] }', '["bob"], cap = 8 }'), f"{RULE_KEY}.cap", "such as '2h', not int"),
        (changed('["bob"] }', '["bob"], cap = "25h" }'), f"{RULE_KEY}.cap", "not too long"),
        (changed('["bob"] }', '["bob"], automatic = 1 }'), f"{RULE_KEY}.automatic", "true or false"),
        (changed('["bob"] }', '["bob"], hours = "always" }'), f"{RULE_KEY}.hours", "write it like"),
        (changed('["bob"] }', '["bob"], hours = "Mon-Fri 19:00-07:00 UTC" }'), f"{RULE_KEY}.hours", "start"),
        (changed('["bob"] }', '["bob"], break_glass = { who = ["eve"] } }'), f"{RULE_KEY}.break_glass.who", "'eve'"),
        (changed('["bob"] }', '["bob"], break_glass = {} }'), f"{RULE_KEY}.break_glass.who", "is missing"),
        ("[machines]\n" + PLAIN, "machines", "is empty"),
        (machine("role = 1"), "machines.ci.role", "must be text, not int"),
        (machine('role = "ci"'), "machines.ci.role", "does not look like one"),
        (machine('role = "arn:aws:iam::*:role/Ci"'), "machines.ci.role", "does not look like one"),
        (machine('role = "arn:aws:sts::123456789012:assumed-role/Ci/x"'), "machines.ci.role", "look like one"),
        (machine(CI, 'levels = "r"'), "machines.ci.levels", "is not a key"),
        (machine(CI, name="bob"), "machines.bob", "is the name of somebody in [people]"),
        (machine(CI, name="Ci"), "machines.Ci", "is no name"),
        (machine(CI) + "[machines.cd]\n" + CI.replace("/Ci", "/x/Ci"), "machines.cd.role", "is the role of 'ci'"),
        (machine(CI).replace('"U0BOB"', '"U0BOB", aws = ["*/Ci/*"]'), "machines.ci.role", "is a role of 'bob' too"),
        (PLAIN.replace('"U0BOB"', f'"U0BOB", aws = ["{USER}"]').replace('"U0ALICE"', f'"U0ALICE", aws = ["{USER}"]'),
            "people.bob.aws", "could be 'alice' as well"),
        (PLAIN + MACHINE_RULE, "locations.orders.machines.ci", "is no machine of [machines]"),
        (machine(CI) + "\n[locations.orders.machines]", "locations.orders.machines", "is empty"),
        (machine(CI) + MACHINE_RULE.replace("r =", "x ="), "locations.orders.machines.ci.x", "is not a key"),
        (machine(CI) + "\n[locations.orders.machines.ci]", "locations.orders.machines.ci", "offers no level"),
        (machine(CI) + MACHINE_RULE.replace('["bob"]', '["ci"]'), f"{CI_KEY}.approvers", "is called 'ci'"),
        (machine(CI) + MACHINE_RULE.replace('["bob"]', '["bob"], who = "*"'), f"{CI_KEY}.who", "is not a key"),
        (machine(CI) + MACHINE_RULE.replace('["bob"]', '["bob"], break_glass = { who = ["bob"] }'),
            f"{CI_KEY}.break_glass", "is not a key"),
        (machine(CI) + MACHINE_RULE.replace('["bob"]', '["bob"], needed = 2'), f"{CI_KEY}.approvers", "need fewer"),
        (machine(CI).replace('who = "*"', 'who = ["ci"]'), f"{RULE_KEY}.who", "nobody in [people] is called 'ci'"),
        ("[api]\n" + PLAIN, "api.fixed_session_names", "is missing"),
        ('[api]\nfixed_session_names = "Dev"\n' + PLAIN, "api.fixed_session_names", "a list of texts"),
        ('[api]\nfixed_session_names = ["Dev*"]\n' + PLAIN, "api.fixed_session_names", "is no role's name"),
        ("[api]\nfixed_session_names = []\nx = 1\n" + PLAIN, "api.x", "is not a key"),
        (changed('[bastions.main]\nsubnets = ["subnet-a"]', "[bastions]"), "bastions", "is empty"),
    ],
)  # fmt: skip  # one mistake a line
def test_every_mistake_is_named_with_file_key_and_reason(text: str, key: str, reason: str) -> None:
    """Whoever edits the catalogue is told where and why, and not what a parser thinks."""
    with pytest.raises(CatalogueError) as caught:
        load(text)

    assert ("catalogue.toml", key) == (caught.value.file, caught.value.key)
    assert reason in caught.value.reason


@RULE
@given(st.data())
def test_any_key_of_the_example_may_be_mistyped_and_is_named(data: st.DataObject) -> None:
    """Whichever line gets a list of dates instead of its value, the loader refuses and names the key or its table."""
    lines = [line for line in PLAIN.splitlines() if " = " in line]
    line = data.draw(st.sampled_from(lines))
    key = line.split(" = ")[0]

    with pytest.raises(CatalogueError) as caught:
        load(PLAIN.replace(line, f"{key} = [2026-11-20]"))

    assert key in caught.value.key.split(".")


@RULE
@given(st.text())
def test_whatever_stands_in_the_file_is_loaded_or_refused(text: str) -> None:
    """No text makes the loader fail in another way."""
    with pytest.raises(CatalogueError):
        load(text)


def test_the_same_rule_is_fine_when_somebody_else_can_approve_one_asker() -> None:
    """Bob, who is the only approver, may ask in vain; for alice the rule works, so it stands."""
    rule = load(PLAIN).require_location("orders").levels[READ]

    assert frozenset({"bob"}) == rule.approvers


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("orders-prdo", "Did you mean 'orders-prod'? There are: orders-prod, users-dev."),
        ("users_dev", "Did you mean 'users-dev'? There are:"),
        ("zzz", "'zzz'. There are: orders-prod, users-dev."),
        ("x" * 3000, "There are: orders-prod, users-dev."),
    ],
)
def test_an_unknown_location_is_answered_with_the_nearest_name(typed: str, hint: str) -> None:
    """And with all of them, so nobody has to ask."""
    catalogue = a_catalogue(a_location("orders-prod"), a_location("users-dev"))

    with pytest.raises(UnknownLocationError) as caught:
        catalogue.require_location(typed)

    assert hint in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_plain_catalogue_of_these_tests_is_sound() -> None:
    """Else every mistake above would be found for the wrong reason."""
    assert {"slack", "people", "bastions", "locations"} == set(tomllib.loads(PLAIN))
    assert "orders" == load(PLAIN).require_location("orders").name
