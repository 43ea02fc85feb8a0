"""Plain and extreme contents for everything that people see in Slack; a test names only what matters to it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import cycle
from typing import Any

from chalicelib import defaults
from chalicelib.domain.connections import ConnectionDetails
from chalicelib.domain.costs import CostReport, GrantCost
from chalicelib.domain.decisions import Decision, DecisionRecord, Terms, Verdict
from chalicelib.domain.endings import Ending, Outcome
from chalicelib.domain.explanations import Explanation
from chalicelib.domain.grants import Grant, GrantFacts, GrantState
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import BreakGlass, DatabaseKind, Hours, Location, SessionDocument, TokenSource
from chalicelib.domain.overviews import EndedRequest, Held, Offer, Overview, ToDecide
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.policy import PolicyAnswer, PolicyOutcome
from chalicelib.domain.receipts import ClosedTunnels, KeptObject, Receipt
from chalicelib.domain.records import RequestRecord
from chalicelib.domain.requests import AccessRequest, Ask
from chalicelib.domain.reviews import ReviewRecord
from tests.factories import FRIDAY_NOON, REQUEST_ID, a_location, a_rule

NOON = FRIDAY_NOON
ALICE = Person(name="alice", team="T0EXAMPLE", slack="U0ALICE")
BOB = Person(name="bob", team="T0EXAMPLE", slack="U0BOB")
CAROL = Person(name="carol", team="T0EXAMPLE", slack="U0CAROL")
CROWD = tuple(Person(name=f"{n:02}" + "n" * 61, team="T0EXAMPLE", slack=f"U{n:020}") for n in range(10))
EXTENSION_ID = "R-EXT234"
HOSTILE = "<!channel> *x* <@U0BOB> approved & <https://example.com|this> `_~ \u202egnol\u202c \u200b\u2066\u2069 "
SECRET = "Signature"
TOKEN = f"db.example.com:5432/?Action=connect&X-Amz-{SECRET}=".ljust(1900, "a")
HALF_HOUR, HOUR = timedelta(minutes=30), timedelta(hours=1)


def a_request(**changes: Any) -> AccessRequest:
    plain = AccessRequest(
        request_id=REQUEST_ID,
        person=ALICE,
        location="my-aurora-location",
        level=PermissionLevel.WRITE,
        duration_seconds=1800,
        reason="INC-42 fix stuck order",
        asked_at=NOON,
    )
    return replace(plain, **changes)


def an_extension(**changes: Any) -> AccessRequest:
    return a_request(extends=EXTENSION_ID, **changes)


def a_yes(person: Person, terms: Terms | None = None) -> Decision:
    return Decision(person_id=person.person_id, approves=True, at=NOON, terms=terms)


def a_no(person: Person, reason: str = "") -> Decision:
    return Decision(person_id=person.person_id, approves=False, at=NOON, reason=reason)


def a_record(*decisions: Decision | Person, verdict: Verdict = Verdict.OPEN, **changes: Any) -> DecisionRecord:
    plain = DecisionRecord(
        request_id=REQUEST_ID,
        verdict=verdict,
        needed=2,
        closes_at=NOON + HOUR,
        decisions=tuple(each if isinstance(each, Decision) else a_yes(each) for each in decisions),
        version=1 + len(decisions),
    )
    return replace(plain, **changes)


def a_policy(**changes: Any) -> PolicyOutcome:
    plain = PolicyOutcome(answer=PolicyAnswer.NEEDS_APPROVAL, reason="x", approvers=frozenset({BOB, CAROL}), needed=2)
    return replace(plain, **changes)


def a_grant(request: AccessRequest | None = None, *, token: TokenSource = TokenSource.MODAL, **changes: Any) -> Grant:
    request = request or a_request()
    facts = GrantFacts(
        request_id=request.request_id,
        person=request.person,
        location=request.location,
        level=request.level,
        kind=DatabaseKind.CLUSTER,
        identifier="my-aurora",
        database="depotpostgres",
        region="eu-west-1",
        bastion="main",
        port=56789,
        document=SessionDocument.LOCATION,
        token=token,
        document_port=56789,
    )
    of_facts = {name: changes.pop(name) for name in list(changes) if name in GrantFacts.__dataclass_fields__}
    grant = Grant(
        facts=replace(facts, **of_facts),
        state=GrantState.LIVE,
        duration_seconds=request.duration_seconds,
        created_at=NOON,
        ends_at=NOON + timedelta(hours=9, minutes=52),
        provision_by=NOON,
    )
    return replace(grant, **changes)


def a_connection(grant: Grant | None = None, **changes: Any) -> ConnectionDetails:
    plain = ConnectionDetails(
        facts=(grant or a_grant()).facts,
        instance_id="i-0123456789abcdef0",
        writer=Endpoint(host="my-aurora.cluster-abc.eu-west-1.rds.amazonaws.com", port=5432),
        stage="prod",
        certificate_bundle="$HOME/.drawbridge/rds-global-bundle.pem",
    )
    return replace(plain, **changes)


def a_receipt(**changes: Any) -> Receipt:
    return replace(Receipt(role="jit_x_w_alice", read_at=NOON, is_dropped=True), **changes)


def an_ending(**changes: Any) -> Ending:
    plain = Ending(
        request=a_request(),
        outcome=Outcome.FINISHED,
        explanation="",
        grant=a_grant(),
        decisions=a_record(BOB, CAROL, verdict=Verdict.APPROVED),
        receipt=a_receipt(),
        tunnels=ClosedTunnels(),
        is_revoked=True,
        approval_card=None,
        ready_card=None,
    )
    return replace(plain, **changes)


def a_review(**changes: Any) -> ReviewRecord:
    return replace(ReviewRecord(request_id=REQUEST_ID, opened_at=NOON, due_at=NOON + 24 * HOUR), **changes)


def a_filed(request: AccessRequest | None = None, **changes: Any) -> RequestRecord:
    return RequestRecord(request=request or a_request(), **changes)


def a_waiting(record: RequestRecord, location: Location | None = None) -> ToDecide:
    return ToDecide(record=record, location=location or a_location())


def an_overview(**changes: Any) -> Overview:
    empty = Overview(to_decide=(), to_review=(), asked=(), held=(), offers=(), ended=(), read_at=NOON)
    return replace(empty, **changes)


def an_ended(request: AccessRequest | None = None, outcome: Outcome = Outcome.FINISHED) -> EndedRequest:
    return EndedRequest(request=request or a_request(), outcome=outcome, ended_at=NOON)


def an_offer(location: Location | None = None) -> Offer:
    at_once = a_policy(answer=PolicyAnswer.ALLOWED, needed=0, approvers=frozenset())
    levels = {
        PermissionLevel.READ: at_once,
        PermissionLevel.WRITE: a_policy(),
        PermissionLevel.OPERATE: a_policy(answer=PolicyAnswer.DENIED, reason="Not at this hour."),
    }
    return Offer(location=location or a_location(), levels=levels)


def an_explanation(**changes: Any) -> Explanation:
    rule = a_rule(
        hours=Hours.parse("Mon-Fri 07:00-19:00 Europe/Berlin"),
        needed=2,
        break_glass=BreakGlass(who=frozenset({"alice"}), review_within_seconds=86_400),
    )
    plain = Explanation(
        location=a_location(), level=PermissionLevel.WRITE, rule=rule, outcome=a_policy(), at=NOON, may_break_glass=True
    )
    return replace(plain, **changes)


def a_cost_report(**changes: Any) -> CostReport:
    grant = GrantCost(
        request_id=REQUEST_ID, person_id=ALICE.person_id, location="my-aurora-location", bastion_seconds=1800,
        dollars=0.0021,
    )  # fmt: skip
    plain = CostReport(
        month="2026-11",
        read_at=NOON,
        dollars=0.57,
        parts=(("The secret", 0.40), ("Bastions", 0.17)),
        grants=(grant,),
    )
    return replace(plain, **changes)


def an_ask(**changes: Any) -> Ask:
    return replace(
        Ask(location="", level=PermissionLevel.OPERATE, duration_seconds=None, reason="", profile=""), **changes
    )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What one rendering of everything is made from."""

    request: AccessRequest
    environment: str
    grant: Grant
    connection: ConnectionDetails
    approvers: tuple[Person, ...]
    explanation: str
    answer: str
    receipt: Receipt
    tunnels: ClosedTunnels
    locations: tuple[Location, ...]

    def ending(self, **changes: Any) -> Ending:
        plain = an_ending(
            request=self.request,
            grant=self.grant,
            explanation=self.explanation,
            decisions=self.approved(),
            receipt=self.receipt,
            tunnels=self.tunnels,
        )
        return replace(plain, **changes)

    def approved(self) -> DecisionRecord:
        return a_record(*self.approvers, verdict=Verdict.APPROVED, needed=len(self.approvers))

    def approved_less(self) -> DecisionRecord:
        less = Terms(level=PermissionLevel.READ, duration_seconds=self.request.duration_seconds // 2)
        return a_record(a_yes(BOB, less), verdict=Verdict.APPROVED, void=(CAROL.person_id,))

    def denied(self) -> DecisionRecord:
        return a_record(*self.approvers[:-1], a_no(BOB, self.answer), verdict=Verdict.DENIED)

    def overview(self, *, size: int) -> Overview:
        """Everything that a Home can show, so many times."""
        requests = [
            replace(
                self.request,
                request_id=f"R-{n:06}",
                extends=EXTENSION_ID if n % 4 == 1 else None,
                level=list(PermissionLevel)[n % 3],
            )
            for n in range(size)
        ]
        filed = [a_filed(request, decisions=a_record(), review=a_review()) for request in requests]
        held = tuple(Held(record=each, grant=a_grant(each.request)) for each in filed)
        return an_overview(
            to_decide=tuple(map(a_waiting, filed, cycle(self.locations))),
            to_review=tuple(filed),
            asked=tuple(filed),
            held=held,
            offers=tuple(map(an_offer, self.locations)),
            ended=tuple(an_ended(request, list(Outcome)[n % 5]) for n, request in enumerate(requests)),
        )


ORDINARY = Contents(
    request=a_request(),
    environment="prod",
    grant=a_grant(),
    connection=a_connection(),
    approvers=(BOB, CAROL),
    explanation="The bastion didn't start. Ask again in a few minutes.",
    answer="Use the reporting copy.",
    receipt=a_receipt(kept=(KeptObject(database="depotpostgres", kind="table", name="public.fix"),)),
    tunnels=ClosedTunnels(ended=("alice-0abc",)),
    locations=(a_location("my-aurora-location"), a_location("orders")),
)


def an_open_location(**changes: Any) -> Location:
    """One with as many other open databases, of as long names, as a card could have to name."""
    return a_location(also_readable=frozenset(f"{n:02}{'d' * 61}" for n in range(100)), **changes)


def locations(count: int) -> tuple[Location, ...]:
    return tuple(a_location(f"{n:03}{'l' * 60}", environment="e" * 63, region="us-gov-west-1") for n in range(count))


def extreme() -> Contents:
    """The longest of everything that the domain lets through, and hostile words wherever people choose them."""
    person = replace(ALICE, name="a" * 63, slack="U" + "0" * 20)
    request = a_request(
        person=person,
        location="l" * 63,
        duration_seconds=86_399,
        reason=(HOSTILE * 20)[: defaults.REASON_LENGTH],
        profile="p" * 128,
    )
    grant = a_grant(
        request,
        database="d" * 63,
        document=SessionDocument.AWS,
        region="us-gov-west-1",
        port=65535,
        profile="p" * 128,
        extension_ids=(EXTENSION_ID,) * 20,
    )
    thing = KeptObject(database="d" * 63, kind="materialized view", name=f"{HOSTILE}{'s' * 63}.{'t' * 63}")
    receipt = a_receipt(
        sessions=999,
        can_log_in=True,
        is_dropped=False,
        memberships=tuple(f"{'g' * 60}{n}" for n in range(100)),
        kept=(thing,) * 500,
        unchecked=(HOSTILE * 10,) * 50,
        parked_strangers=("jit_" + "x" * 59,) * 500,
    )
    return Contents(
        request=request,
        environment="e" * 63,
        grant=grant,
        connection=a_connection(
            grant, writer=Endpoint(host="h" * 255, port=65535), certificate_bundle="$HOME/" + "p" * 250
        ),
        approvers=CROWD,
        explanation=HOSTILE * 100,
        answer=(HOSTILE * 20)[: defaults.ANSWER_LENGTH],
        receipt=receipt,
        tunnels=ClosedTunnels(ended=("s" * 96,) * 50, kept=("s" * 96,) * 50, unattributed=("s" * 96,) * 50),
        locations=locations(100),
    )
