"""Plain domain values for tests: each factory gives something ordinary, and a test names only what matters to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.defaults import DURATIONS
from chalicelib.domain.bastions import Bastion, InstanceStatus, Launch
from chalicelib.domain.callers import Machine
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.decisions import Decision, DecisionRecord, Verdict
from chalicelib.domain.endings import Course, Outcome, Prepared, Purpose, StepError
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.grants import Grant, GrantFacts, new_grant
from chalicelib.domain.instances import DatabaseInstances, Endpoint
from chalicelib.domain.locations import (
    BastionGroup,
    BreakGlass,
    DatabaseKind,
    Isolation,
    LevelRule,
    Location,
    SessionDocument,
    TokenSource,
)
from chalicelib.domain.orders import OpenGrants, ProvisioningOrder, RevocationOrder
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.receipts import Receipt
from chalicelib.domain.requests import AccessRequest
from chalicelib.domain.reviews import ReviewRecord
from chalicelib.domain.tunnels import Tunnel
from chalicelib.workflow.find_database_instances import DatabaseOrder

READ, WRITE, OPERATE = PermissionLevel.READ, PermissionLevel.WRITE, PermissionLevel.OPERATE

FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REQUEST_ID = "R-ABC234"
NEW_AGENT = "3.3.859.0"
"""An SSM agent that forwards to a remote host."""
WRITER = Endpoint(host="orders-cluster.cluster-abc123.eu-west-1.rds.amazonaws.com", port=5432)
READER = Endpoint(host="orders-cluster-2.abc123.eu-west-1.rds.amazonaws.com", port=5432)
INSTANCES = DatabaseInstances(writer=WRITER, readers=(READER,), resource_id="cluster-ABCDEFGHIJKLMNOP")
OPEN_GRANTS = OpenGrants(request_ids=frozenset({REQUEST_ID}), listed_at=FRIDAY_NOON)


def seconds(count: float) -> timedelta:
    """A number of seconds."""
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    """A number of minutes."""
    return timedelta(minutes=count)


def a_person(name: str = "alice", *, aws: tuple[str, ...] = ()) -> Person:
    """A listed person whose Slack user is named after them."""
    return Person(name=name, team="T0EXAMPLE", slack=f"U0{name.upper()}", aws=aws)


ALICE, BOB, CAROL, DAVE = (a_person(name) for name in ("alice", "bob", "carol", "dave"))
PIPELINE = Person.machine("release-pipeline")


def a_machine(person: Person = PIPELINE, **changes: Any) -> Machine:
    """A pipeline that signs with a role of its own."""
    return replace(Machine(person=person, role="arn:aws:iam::123456789012:role/ReleasePipeline"), **changes)


def a_rule(**changes: Any) -> LevelRule:
    """A rule by which everybody may ask and one of bob and carol must agree."""
    return replace(
        LevelRule(
            who=frozenset({"*"}),
            automatic=False,
            approvers=frozenset({"bob", "carol"}),
            needed=1,
            cap_seconds=4 * 3600,
        ),
        **changes,
    )


def a_location(name: str = "orders-prod", **changes: Any) -> Location:
    """A cluster: reading is automatic, operating needs one approver and writing two."""
    return replace(
        Location(
            name=name,
            kind=DatabaseKind.CLUSTER,
            identifier="orders-cluster",
            database="orders",
            region="eu-west-1",
            environment="prod",
            bastion=a_group(),
            port=56789,
            isolation=Isolation.STRICT,
            also_readable=frozenset(),
            token=TokenSource.MODAL,
            document=SessionDocument.LOCATION,
            warm_up=True,
            max_people=10,
            levels={
                READ: a_rule(automatic=True, approvers=frozenset()),
                OPERATE: a_rule(),
                WRITE: a_rule(needed=2),
            },
        ),
        **changes,
    )


def a_group(name: str = "main", *subnets: str) -> BastionGroup:
    """A bastion with two subnets."""
    return BastionGroup(name=name, subnets=subnets or ("subnet-a", "subnet-b"))


def a_catalogue(
    *locations: Location, people: tuple[Person, ...] = (ALICE, BOB, CAROL), machines: tuple[Machine, ...] = ()
) -> Catalogue:
    """A catalogue of alice, bob and carol."""
    listed = locations or (a_location(),)
    return Catalogue(
        team="T0EXAMPLE",
        approvals_channel="C0APPROVALS",
        people={person.name: person for person in people},
        locations={location.name: location for location in listed},
        bastions={location.bastion.name: location.bastion for location in listed},
        machines={machine.person.name: machine for machine in machines},
    )


def a_request(**changes: Any) -> AccessRequest:
    """Alice asks to operate for half an hour."""
    return replace(
        AccessRequest(
            request_id=REQUEST_ID,
            person=ALICE,
            location="orders-prod",
            level=OPERATE,
            duration_seconds=1800,
            reason="fix a stuck order",
            asked_at=FRIDAY_NOON,
        ),
        **changes,
    )


def a_policy(**changes: Any) -> PolicyOutcome:
    """One of bob and carol must agree."""
    return replace(
        PolicyOutcome(
            answer=PolicyAnswer.NEEDS_APPROVAL,
            reason="operate access to orders-prod needs 1 approval(s)",
            approvers=frozenset({BOB, CAROL}),
            needed=1,
        ),
        **changes,
    )


def a_task_token(text: str = "token-1", *, entered_at: datetime = FRIDAY_NOON, retries: int = 0) -> TaskToken:
    """Of a state that was entered at noon."""
    return TaskToken(text=text, entered_at=entered_at, retries=retries)


def a_record(*yes: Person, **changes: Any) -> DecisionRecord:
    """The deciding of a request, open for an hour, with these people's yes."""
    return replace(
        DecisionRecord(
            request_id=REQUEST_ID,
            verdict=Verdict.OPEN,
            needed=1,
            closes_at=FRIDAY_NOON + minutes(60),
            decisions=tuple(Decision(person_id=person.person_id, approves=True, at=FRIDAY_NOON) for person in yes),
            version=1 + len(yes),
        ),
        **changes,
    )


def a_decision(person: Person | None = BOB, **changes: Any) -> Decision:
    """Somebody's yes to what was asked, at noon."""
    person_id = person.person_id if person else ""
    return replace(Decision(person_id=person_id, approves=True, at=FRIDAY_NOON), **changes)


def an_ended_request(request: AccessRequest | None = None, **changes: Any) -> EndedRequest:
    """The end of a request that came to its end at noon."""
    return replace(
        EndedRequest(request=request or a_request(), outcome=Outcome.FINISHED, ended_at=FRIDAY_NOON), **changes
    )


def a_review(**changes: Any) -> ReviewRecord:
    """The open review of the ordinary request, due in a day."""
    return replace(
        ReviewRecord(request_id=REQUEST_ID, opened_at=FRIDAY_NOON, due_at=FRIDAY_NOON + minutes(24 * 60)), **changes
    )


def a_glass_rule(**changes: Any) -> LevelRule:
    """The ordinary rule, by which alice may also take the level at once, for a review within a day."""
    glass = BreakGlass(who=frozenset({"alice"}), review_within_seconds=86_400)
    return a_rule(**{"break_glass": glass, **changes})


def a_grant(request: AccessRequest | None = None, *, location: Location | None = None, **changes: Any) -> Grant:
    """A live grant made at noon. Changes may be fields of the grant or of its facts."""
    request = request or a_request()
    grant = new_grant(
        request=request,
        location=location or a_location(request.location),
        durations=DURATIONS,
        now=FRIDAY_NOON,
    )
    of_facts = {name: changes.pop(name) for name in list(changes) if name in GrantFacts.__dataclass_fields__}
    return replace(grant, facts=replace(grant.facts, **of_facts), **changes)


def a_bastion(**changes: Any) -> Bastion:
    """The bastion ``main``, of which the ledger knows nothing yet."""
    return replace(Bastion(name="main"), **changes)


def a_launch(subnet: str = "subnet-a", **changes: Any) -> Launch:
    """The first launch of the bastion ``main``, on the cheapest type."""
    return replace(
        Launch(
            bastion="main", group="main", generation=0, subnet=subnet, instance_type="t4g.nano", is_last_of_round=False
        ),
        **changes,
    )


def a_connected_instance(**changes: Any) -> InstanceStatus:
    """An instance through which people can tunnel."""
    return replace(InstanceStatus(ec2="running", is_connected=True, agent_version=NEW_AGENT), **changes)


def a_tunnel(**changes: Any) -> Tunnel:
    """A tunnel opened by the delivered command of the ordinary request."""
    return replace(
        Tunnel(
            session_id="alice-0123456789abcdef0",
            instance_id="i-1",
            owner="arn:aws:sts::123456789012:assumed-role/Developer/alice@example.com",
            reason=REQUEST_ID,
            started_at=FRIDAY_NOON,
        ),
        **changes,
    )


def a_receipt(**changes: Any) -> Receipt:
    """The receipt of a revocation that left nothing."""
    return replace(Receipt(role=a_grant().facts.role, read_at=FRIDAY_NOON + minutes(30), is_dropped=True), **changes)


def an_order(**changes: Any) -> DatabaseOrder:
    """What FindDatabaseInstances hands to the database function for the ordinary grant."""
    grant = a_grant()
    return replace(
        DatabaseOrder(
            is_ordered=True,
            facts=grant.facts,
            instances=INSTANCES,
            ends_at=grant.ends_at,
            not_after=grant.provision_by,
            open_grants=OPEN_GRANTS,
        ),
        **changes,
    )


def a_provisioning_order(**changes: Any) -> ProvisioningOrder:
    """The ordinary order to make alice's user."""
    grant = a_grant()
    return replace(
        ProvisioningOrder(
            facts=grant.facts,
            location=a_location(),
            instances=INSTANCES,
            ends_at=grant.ends_at,
            not_after=grant.provision_by,
            open_grants=OPEN_GRANTS,
        ),
        **changes,
    )


def a_revocation_order(**changes: Any) -> RevocationOrder:
    """The ordinary order to take alice's user away."""
    return replace(RevocationOrder(facts=a_grant().facts, instances=INSTANCES, open_grants=OPEN_GRANTS), **changes)


def a_connection(grant: Grant | None = None, **changes: Any) -> ConnectionDetails:
    """How alice reaches the database of the ordinary grant."""
    return replace(
        ConnectionDetails(
            facts=(grant or a_grant()).facts,
            instance_id="i-0123456789abcdef0",
            writer=WRITER,
            stage="example",
            certificate_bundle="$HOME/rds-global-bundle.pem",
        ),
        **changes,
    )


def a_course(**changes: Any) -> Course:
    """The course of a request for which everything went well."""
    return replace(
        Course(
            purpose=Purpose.GRANT,
            policy_answer="needs_approval",
            policy_reason="operate access to orders-prod needs 1 approval(s)",
            verdict="approved",
            verdict_reason="",
            is_confirmed=True,
            confirmation_reason="",
            bastion=Prepared(is_ok=True),
            database_user=Prepared(is_ok=True),
            failure=StepError(),
        ),
        **changes,
    )
