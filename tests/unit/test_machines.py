"""Pipelines: they ask and hold access by rules of their own, decide nothing, and nobody in Slack stands for them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.bastions import BastionState
from chalicelib.domain.callers import Machine
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from chalicelib.domain.decisions import Refusal, Verdict
from chalicelib.domain.errors import CatalogueError, DatabaseSetupError
from chalicelib.domain.filings import Asked
from chalicelib.domain.grants import delivered
from chalicelib.domain.locations import EVERYBODY, LevelRule
from chalicelib.domain.payloads import from_payload, to_payload
from chalicelib.domain.people import Person, find_machine_name
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome, decide_policy
from chalicelib.domain.requests import AccessRequest, Ask
from chalicelib.domain.session_documents import session_document
from chalicelib.workflow.ask_extension import ask_extension
from chalicelib.workflow.close_approval import ClosedApproval, close_approval
from chalicelib.workflow.confirm_approval import confirm_approval
from chalicelib.workflow.deliver_connection import deliver_connection
from chalicelib.workflow.explain_level import explain_level
from chalicelib.workflow.file_request import file_request
from chalicelib.workflow.grant_extension import grant_extension
from chalicelib.workflow.provision_database_user import provision_database_user
from chalicelib.workflow.read_overview import read_overview
from chalicelib.workflow.reconcile_grants import reconcile_grants
from chalicelib.workflow.record_decision import record_decision
from chalicelib.workflow.refresh_homes import refresh_homes
from chalicelib.workflow.request_approval import request_approval
from chalicelib.workflow.tell_holder import tell_holder
from tests.factories import (
    ALICE,
    BOB,
    CAROL,
    FRIDAY_NOON,
    OPERATE,
    PIPELINE,
    READ,
    REQUEST_ID,
    WRITE,
    WRITER,
    a_bastion,
    a_catalogue,
    a_connected_instance,
    a_glass_rule,
    a_grant,
    a_location,
    a_machine,
    a_person,
    a_record,
    a_request,
    a_rule,
    a_task_token,
    an_order,
    seconds,
)
from tests.fakes import World
from tests.strategies import RULE, level_rules, levels

QUARTER = 900
PEOPLE = tuple(a_person(name) for name in ("alice", "bob", "carol", "dave", "erin"))
OTHER = Person.machine("nightly-report")


def own_rule(**changes: object) -> LevelRule:
    return a_rule(**{"who": frozenset({PIPELINE.name}), "cap_seconds": QUARTER, **changes})


def a_shop(*, people: tuple[Person, ...] = (ALICE, BOB, CAROL), **rules: LevelRule) -> Catalogue:
    """A location where everybody reads at once, and the pipeline has these rules, if any."""
    own = {PermissionLevel(level): rule for level, rule in rules.items()}
    location = a_location(machines={PIPELINE.name: own} if own else {})
    return a_catalogue(location, people=people, machines=(a_machine(), a_machine(OTHER, role=OTHER_ROLE)))


OTHER_ROLE = "arn:aws:iam::123456789012:role/NightlyReport"


def judge(
    catalogue: Catalogue, person: Person, level: PermissionLevel, *, is_break_glass: bool = False
) -> PolicyOutcome:
    return decide_policy(
        person=person,
        location=catalogue.locations["orders-prod"],
        level=level,
        duration_seconds=60,
        catalogue=catalogue,
        now=FRIDAY_NOON,
        is_break_glass=is_break_glass,
    )


def a_machines_request(**changes: object) -> AccessRequest:
    return a_request(**{"person": PIPELINE, "level": WRITE, "duration_seconds": QUARTER, **changes})


def asked(catalogue: Catalogue | None = None) -> World:
    """The pipeline asked to write, which somebody must approve."""
    world = World(catalogue=catalogue or a_shop(w=own_rule()))
    world.requests.declare_request(a_machines_request())
    return world


def holding(catalogue: Catalogue | None = None) -> World:
    """The pipeline may write until a quarter past twelve."""
    world = asked(catalogue)
    world.grants.declare_grant(
        delivered(a_grant(a_machines_request()), instance_id="i-1", writer=WRITER, now=FRIDAY_NOON)
    )
    return world


class TestIdentity:
    def test_it_has_one_that_no_person_can_have(self) -> None:
        """Slack's ids are written in capitals; a person called like a machine is somebody else."""
        assert ("machine/release-pipeline", "release-pipeline") == (
            PIPELINE.person_id,
            find_machine_name(PIPELINE.person_id),
        )
        assert find_machine_name(ALICE.person_id) is None

    def test_it_is_kept_in_the_ledger(self) -> None:
        """What was written before there were machines is a person's."""
        old = {name: value for name, value in to_payload(ALICE).items() if name != "is_machine"}

        assert PIPELINE == from_payload(Person, to_payload(PIPELINE))
        assert ALICE == from_payload(Person, old)


class TestRules:
    def test_everybody_means_no_machine(self) -> None:
        """Reading is automatic for whoever is listed; the pipeline is told where its rules would stand."""
        catalogue = a_shop()
        outcome = judge(catalogue, PIPELINE, READ)

        assert EVERYBODY in catalogue.locations["orders-prod"].levels[READ].who
        assert PolicyAnswer.DENIED is outcome.answer
        assert "offers the pipeline release-pipeline nothing." in outcome.reason
        assert "[locations.orders-prod.machines.release-pipeline]" in outcome.reason

    def test_its_own_rule_says_what_it_gets(self) -> None:
        """And a level without one is refused with those that there are."""
        catalogue = a_shop(
            r=own_rule(automatic=True, approvers=frozenset()), w=own_rule(approvers=frozenset({"carol"}))
        )
        write = judge(catalogue, PIPELINE, WRITE)

        assert PolicyAnswer.ALLOWED is judge(catalogue, PIPELINE, READ).answer
        assert (PolicyAnswer.NEEDS_APPROVAL, {CAROL}) == (write.answer, write.approvers)
        assert "orders-prod offers read (r), write (w), not operate (o)." in judge(catalogue, PIPELINE, OPERATE).reason

    def test_the_rule_of_another_machine_is_not_its_own(self) -> None:
        """Each has its table."""
        assert PolicyAnswer.DENIED is judge(a_shop(r=own_rule(automatic=True)), OTHER, READ).answer

    def test_a_machine_that_has_left_the_catalogue_gets_nothing(self) -> None:
        """Even where its rules were forgotten."""
        catalogue = replace(a_shop(r=own_rule(automatic=True)), machines={})
        outcome = judge(catalogue, PIPELINE, READ)

        assert PolicyAnswer.DENIED is outcome.answer
        assert "add you under [machines]" in outcome.reason

    def test_it_breaks_no_glass(self) -> None:
        """Not even where people may."""
        catalogue = a_catalogue(
            a_location(levels={READ: a_glass_rule()}, machines={PIPELINE.name: {READ: own_rule()}}),
            machines=(a_machine(),),
        )

        assert PolicyAnswer.DENIED is judge(catalogue, PIPELINE, READ, is_break_glass=True).answer

    @RULE
    @given(st.dictionaries(levels, level_rules()), st.dictionaries(levels, level_rules()), levels)
    def test_no_rule_of_people_changes_what_a_machine_gets(
        self, some: dict[PermissionLevel, LevelRule], others: dict[PermissionLevel, LevelRule], level: PermissionLevel
    ) -> None:
        """And without rules of its own it gets nothing."""
        machines = {PIPELINE.name: {WRITE: own_rule()}}
        outcomes = {
            judge(
                a_catalogue(a_location(levels=rules, machines=machines), people=PEOPLE, machines=(a_machine(),)),
                PIPELINE,
                level,
            )
            for rules in (some, others)
        }
        bare = a_catalogue(a_location(levels=some), people=PEOPLE, machines=(a_machine(),))

        assert 1 == len(outcomes)
        assert PolicyAnswer.DENIED is judge(bare, PIPELINE, level).answer

    @RULE
    @given(
        st.dictionaries(levels, level_rules()),
        st.dictionaries(st.sampled_from([PIPELINE.name, "alice"]), st.dictionaries(levels, level_rules())),
        levels,
        st.sampled_from(PEOPLE),
    )
    def test_no_rule_of_a_machine_changes_what_a_person_gets(
        self,
        rules: dict[PermissionLevel, LevelRule],
        machines: dict[str, dict[PermissionLevel, LevelRule]],
        level: PermissionLevel,
        person: Person,
    ) -> None:
        """Not even that of a machine of the same name."""
        with_machines = a_location(levels=rules, machines=machines)
        plain = a_location(levels=rules)

        assert judge(a_catalogue(plain, people=PEOPLE), person, level) == judge(
            a_catalogue(with_machines, people=PEOPLE, machines=(a_machine(),)), person, level
        )

    def test_the_longest_tunnel_is_the_longest_of_all_rules(self) -> None:
        """SSM ends sessions after it; a machine's cap may be the longest."""
        location = a_location(machines={PIPELINE.name: {READ: own_rule(cap_seconds=5 * 3600)}})

        assert "300" == session_document(location, host="h", port="5432")["inputs"]["maxSessionDuration"]


class TestAsking:
    def test_its_request_is_filed_with_its_own_cap(self) -> None:
        """No duration means the default one, and never more than its rule gives."""
        world = World(catalogue=a_shop(w=own_rule()))
        ask = Ask(location="orders-prod", level=WRITE, duration_seconds=None, reason="release 1.2")
        filed = world.run(file_request, person=PIPELINE, ask=ask, origin_id="origin-1")

        assert isinstance(filed, Asked)
        assert (PIPELINE, QUARTER) == (filed.request.person, filed.request.duration_seconds)
        assert {BOB, CAROL} == filed.policy.approvers

    def test_what_people_may_have_is_refused_to_it(self) -> None:
        """It would be automatic for them."""
        world = World(catalogue=a_shop(w=own_rule()))
        ask = Ask(location="orders-prod", level=READ, duration_seconds=60, reason="")

        assert isinstance(world.run(file_request, person=PIPELINE, ask=ask, origin_id="origin-1"), Refusal)
        assert {} == world.executions.started

    def test_the_explanation_is_of_its_own_rule(self) -> None:
        """With its own cap."""
        world = World(catalogue=a_shop(w=own_rule()))
        explained = world.run(explain_level, person=PIPELINE, location="orders-prod", level=WRITE)

        assert (own_rule(), PolicyAnswer.NEEDS_APPROVAL) == (explained.rule, explained.outcome.answer)

    def test_it_is_offered_its_own_levels(self) -> None:
        """And others see none of them."""
        world = World(catalogue=a_shop(w=own_rule()))

        assert [[WRITE]] == [list(each.levels) for each in world.run(read_overview, person=PIPELINE).offers]
        assert [[READ, OPERATE, WRITE]] == [list(each.levels) for each in world.run(read_overview, person=ALICE).offers]
        assert () == world.run(read_overview, person=OTHER).offers


class TestDeciding:
    def test_people_decide_what_it_asks(self) -> None:
        """Carol says yes, and it is granted by the machine's own rule."""
        world = asked()
        world.run(request_approval, request_id=REQUEST_ID, task_token=a_task_token("token-1"))
        world.run(record_decision, request_id=REQUEST_ID, person=CAROL, approves=True)

        assert ClosedApproval(verdict=Verdict.APPROVED) == world.run(close_approval, request_id=REQUEST_ID)
        assert world.run(confirm_approval, request_id=REQUEST_ID).is_confirmed
        assert [PIPELINE] == [grant.facts.person for grant in world.grants.open_grants()]

    @pytest.mark.parametrize("machine", [PIPELINE, OTHER])
    def test_no_machine_decides(self, machine: Person) -> None:
        """Neither its own request nor another's, and whatever group somebody put it into."""
        world = asked(a_shop(w=own_rule(approvers=frozenset(), approver_groups=frozenset({"S0ONCALL"}))))
        world.groups.members["S0ONCALL"] = {machine.person_id}
        world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
        answer = world.run(record_decision, request_id=REQUEST_ID, person=machine, approves=True)

        assert Refusal(reason=f"The pipeline {machine.name} decides nothing; people do.") == answer

    def test_a_rule_that_has_gone_meanwhile_gives_nothing(self) -> None:
        """What people may have does not stand in for it."""
        world = asked()
        world.requests.open_decision(a_record(CAROL, verdict=Verdict.APPROVED), task_token=a_task_token("token-1"))
        world.catalogue = a_shop()

        assert not world.run(confirm_approval, request_id=REQUEST_ID).is_confirmed


class TestExtending:
    @pytest.mark.parametrize(("more", "granted"), [(300, True), (QUARTER, False)])
    def test_it_extends_up_to_its_own_cap(self, more: int, granted: bool) -> None:
        """People's cap of four hours is not its own."""
        rule = own_rule(automatic=True, approvers=frozenset(), cap_seconds=QUARTER + 600)
        world = holding(a_shop(w=rule))
        filed = world.run(ask_extension, request_id=REQUEST_ID, seconds=more, person=PIPELINE, origin_id="origin-2")

        assert granted == isinstance(filed, Asked)

    def test_the_cap_is_asked_for_again_when_it_is_granted(self) -> None:
        """The catalogue may have changed meanwhile."""
        world = holding(a_shop(w=own_rule(automatic=True, approvers=frozenset(), cap_seconds=2 * QUARTER)))
        extension = a_machines_request(request_id="R-EXTEND", duration_seconds=QUARTER, extends=REQUEST_ID)
        world.requests.declare_request(extension)
        world.catalogue = a_shop(w=own_rule(automatic=True, approvers=frozenset()))
        answer = world.run(grant_extension, request_id="R-EXTEND")

        assert not answer.is_confirmed


class TestProvisioning:
    def provision(self, catalogue: Catalogue, person: Person = PIPELINE) -> World:
        world = World(catalogue=catalogue)
        facts = replace(a_grant().facts, person=person, level=READ)
        world.run(provision_database_user, order=an_order(facts=facts))
        return world

    def test_its_user_is_made_by_its_own_rule(self) -> None:
        """And its end is no later than that rule allows."""
        (order,) = self.provision(a_shop(r=own_rule(automatic=True, cap_seconds=60))).database.provisioned

        assert (PIPELINE, True) == (order.facts.person, order.ends_at <= order.not_after + seconds(60))

    @pytest.mark.parametrize(
        "catalogue",
        [a_shop(), a_shop(w=own_rule()), replace(a_shop(r=own_rule()), machines={})],
        ids=["by everybody's rule", "by another level's", "unlisted"],
    )
    def test_no_user_is_made_without_it(self, catalogue: Catalogue) -> None:
        """The function in the VPC believes no event."""
        with pytest.raises(DatabaseSetupError):
            self.provision(catalogue)

    @pytest.mark.parametrize(
        "person",
        [
            Person.machine("alice"),
            replace(PIPELINE, is_machine=False),
            replace(ALICE, is_machine=True),
            replace(PIPELINE, team="T0EXAMPLE"),
        ],
        ids=[
            "a machine with a person's name",
            "a machine that says it is a person",
            "a person who says it is a machine",
            "another identity with the machine's name",
        ],
    )
    def test_nobody_is_taken_for_somebody_of_the_other_kind(self, person: Person) -> None:
        """Whatever an order says."""
        with pytest.raises(DatabaseSetupError):
            self.provision(a_shop(r=own_rule(automatic=True)), person)


class TestSlack:
    def test_it_is_asked_for_in_the_channel_and_told_nothing(self) -> None:
        """The approval card stands; there is no card to follow, and the state goes on."""
        world = asked()
        world.run(request_approval, request_id=REQUEST_ID, task_token=a_task_token("token-1"))
        record = world.requests.require_request(REQUEST_ID)

        assert ("C0APPROVALS", None) == (record.approval_card and record.approval_card.channel, record.asked_card)

    def test_the_delivery_is_noted_without_a_card(self) -> None:
        """It is live and told, however often the state is entered; the channel's card shows it."""
        world = asked()
        grant = a_grant(a_machines_request(), is_ordered=True)
        world.grants.declare_grant(grant)
        leases = {REQUEST_ID: grant.ends_at}
        world.bastions.declare_bastion(a_bastion(state=BastionState.RUNNING, instance_id="i-1", leases=leases))
        world.host.declare_instance("i-1", a_connected_instance())
        for _ in range(2):
            world.run(deliver_connection, request_id=REQUEST_ID, order=an_order(facts=grant.facts))
        record, (standing,) = world.requests.require_request(REQUEST_ID), world.grants.open_grants()

        assert (None, standing.ends_at, "i-1") == (record.ready_card, record.told_end, record.told_instance)
        assert FRIDAY_NOON == standing.delivered_at
        assert ("announce_delivery", REQUEST_ID) in world.notifier.told

    def test_a_near_end_is_noted_without_a_card(self) -> None:
        """It is not tried again and again."""
        world = holding()
        world.clock.advance(QUARTER - 60)
        world.run(tell_holder, request_id=REQUEST_ID)
        record = world.requests.require_request(REQUEST_ID)

        assert (None, world.grants.open_grants()[0].ends_at) == (record.soon_card, record.warned_end)

    def test_slack_is_not_asked_whether_it_is_a_member(self) -> None:
        """Neither when its request is closed nor while it holds access; of who said yes it is."""
        world = holding()
        world.requests.open_decision(a_record(CAROL, verdict=Verdict.APPROVED), task_token=a_task_token("token-1"))

        assert ClosedApproval(verdict=Verdict.APPROVED) == world.run(close_approval, request_id=REQUEST_ID)
        world.run(reconcile_grants)
        assert [CAROL.person_id] == world.members.asked

    def test_it_has_no_home(self) -> None:
        """Those who may decide have."""
        world = asked()
        world.run(refresh_homes, request_id=REQUEST_ID, is_for_others=True)

        assert {"bob", "carol"} == set(world.homes.published)


class TestLeaving:
    def test_a_machine_that_left_the_catalogue_loses_its_access(self) -> None:
        """As people do."""
        world = holding()
        world.executions.declare_running(REQUEST_ID)
        world.catalogue = replace(world.catalogue, machines={})

        assert [f"{REQUEST_ID} ended: its holder is not in the catalogue any more"] == world.run(reconcile_grants)

    def test_a_machine_that_stays_keeps_it(self) -> None:
        """Though Slack answers nothing."""
        world = holding()
        world.executions.declare_running(REQUEST_ID)
        world.members.declare_unanswering()

        assert [] == world.run(reconcile_grants)


STS = "arn:aws:sts::123456789012:assumed-role"
patterns = st.builds(
    "{}/{}/{}".format,
    st.just(STS),
    st.sampled_from(["Developer", "ReleasePipeline", "AWSReservedSSO_Dev_*", "*"]),
    st.sampled_from(["alice", "bob", "*"]),
)
CALLS = [
    f"{STS}/{role}/{session}"
    for role in ("Developer", "ReleasePipeline", "AWSReservedSSO_Dev_0a1b")
    for session in ("alice", "bob", "carol")
]


@RULE
@given(st.lists(patterns, max_size=2), st.lists(patterns, max_size=2))
def test_nobody_approves_themselves_with_a_second_identity(alices: list[str], bobs: list[str]) -> None:
    """Whoever signs the ask, by whichever identity, the same person's yes in Slack is refused; a machine is nobody's identity."""
    people = (a_person("alice", aws=tuple(alices)), a_person("bob", aws=tuple(bobs)), CAROL)
    catalogue = _load_or_none(people)
    callers = {arn: caller for arn in CALLS if catalogue and (caller := catalogue.find_caller(arn))}

    for arn, caller in callers.items():
        assert catalogue is not None
        own = [person for person in people if person == caller]
        answers = [decide(catalogue, caller, person) for person in own]
        assert [Refusal(reason="You cannot decide your own request. Ask another approver.")] * len(own) == answers
        assert caller.is_machine == (not own)
        assert not (caller.is_machine and any(person.owns_principal(arn) for person in people))


def decide(catalogue: Catalogue, asking: Person, pressing: Person) -> object:
    """What somebody's yes comes to, pressed in Slack."""
    presser = catalogue.find_person(team=pressing.team, slack=pressing.slack)
    return asked_by(asking, catalogue).run(record_decision, request_id=REQUEST_ID, person=presser, approves=True)


def asked_by(person: Person, catalogue: Catalogue) -> World:
    world = World(catalogue=catalogue)
    world.requests.declare_request(a_request(person=person, duration_seconds=60))
    world.requests.open_decision(a_record(), task_token=a_task_token("token-1"))
    return world


def _load_or_none(people: tuple[Person, ...]) -> Catalogue | None:
    """The catalogue as the loader takes it, or None where it refuses."""
    machine: Machine = a_machine()
    lines = [f"{each.name} = {{ slack = '{each.slack}', aws = {list(each.aws)!r} }}" for each in people]
    text = f"""
[slack]
team = "T0EXAMPLE"
approvals_channel = "C0APPROVALS"
[people]
{chr(10).join(lines)}
[machines.{machine.person.name}]
role = "{machine.role}"
[api]
fixed_session_names = ["Developer"]
[bastions.main]
subnets = ["subnet-a"]
[locations.orders-prod]
cluster = "orders"
database = "orders"
region = "eu-west-1"
environment = "prod"
bastion = "main"
[locations.orders-prod.levels]
o = {{ who = "*", approvers = ["alice", "bob", "carol"] }}
[locations.orders-prod.machines.{machine.person.name}]
o = {{ approvers = ["alice", "bob", "carol"] }}
"""
    try:
        return load_catalogue(text, file="catalogue.toml")
    except CatalogueError:
        return None
