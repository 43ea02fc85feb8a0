"""What every ledger promises, asked of the fakes that the unit tests stand on and of the real ones on DynamoDB alike."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, get_args

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws
from moto.server import ThreadedMotoServer

from chalicelib.aws.audit_trail import DynamoAuditTrail
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.json_client import Connection, JsonClient, new_session
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table, Write
from chalicelib.defaults import LEASES_PER_BASTION
from chalicelib.domain.audit import AuditEvent, AuditLine
from chalicelib.domain.bastions import CLOSED_TO_LEASES, Bastion, BastionState
from chalicelib.domain.cards import CardReference
from chalicelib.domain.decisions import Verdict
from chalicelib.domain.endings import Outcome
from chalicelib.domain.errors import GrantEndingError, LedgerUnavailableError, UnknownRequestError
from chalicelib.domain.executions import TaskToken
from chalicelib.domain.grants import Grant, GrantState, delivered
from chalicelib.domain.overviews import EndedRequest
from chalicelib.domain.payloads import PayloadError, from_payload
from chalicelib.domain.preferences import Preferences
from chalicelib.domain.records import CardName
from chalicelib.domain.requests import AccessRequest, Origin, request_ids
from chalicelib.domain.reviews import ReviewVerdict
from chalicelib.ports import AuditTrail, BastionLedger, GrantLedger, RequestLedger
from local.seed import create_ledger
from tests.factories import (
    ALICE,
    BOB,
    FRIDAY_NOON,
    OPERATE,
    READ,
    WRITE,
    WRITER,
    a_grant,
    a_person,
    a_record,
    a_request,
    a_review,
    a_task_token,
    a_tunnel,
    an_ended_request,
    minutes,
    seconds,
)
from tests.fakes import FakeAuditTrail, FakeBastionLedger, FakeGrantLedger, FakeRequestLedger
from tests.waiting import WAITING_SECONDS

NOON = FRIDAY_NOON
TURNS = (
    a_task_token("first", entered_at=NOON),
    a_task_token("tried again", entered_at=NOON, retries=1),
    a_task_token("entered again", entered_at=NOON + seconds(0.001)),
)
"""Of one wait, in the order in which their attempts began."""
_numbers = count()


@dataclass(frozen=True, kw_only=True)
class Ledgers:
    """One implementation of all four. ``entries`` reads the audit of a request back."""

    requests: RequestLedger
    grants: GrantLedger
    bastions: BastionLedger
    audit: AuditTrail
    entries: Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def dynamo() -> Iterator[Any]:
    with mock_aws():
        yield new_client()


def new_client(**arguments: Any) -> Any:
    """A DynamoDB client that tries once."""
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("dynamodb", region_name="eu-west-1", config=config, **arguments)


def new_table(client: Any) -> str:
    name = f"ledger-{next(_numbers)}"
    create_ledger(client, name)
    return name


class AttentiveLog:
    """An audit log that takes every line; what it does with them is tested with the audit trail."""

    def write(self, line: AuditLine) -> None: ...


def dynamo_ledgers(table: Table) -> Ledgers:
    return Ledgers(
        requests=DynamoRequestLedger(table),
        grants=DynamoGrantLedger(table),
        bastions=DynamoBastionLedger(table),
        audit=DynamoAuditTrail(table, AttentiveLog(), print),
        entries=lambda request_id: table.query(f"AUDIT#{request_id}"),
    )


def fake_ledgers() -> Ledgers:
    audit = FakeAuditTrail()
    return Ledgers(
        requests=FakeRequestLedger(),
        grants=FakeGrantLedger(),
        bastions=FakeBastionLedger(),
        audit=audit,
        entries=audit.entries,
    )


@pytest.fixture(scope="module")
def clients(dynamo: Any) -> Iterator[dict[str, Any]]:
    """boto3's client and the endpoint's own, on the same tables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    connection = Connection(
        region="eu-west-1",
        access_key="AKIAEXAMPLE",
        secret_key="secret",
        endpoint=f"http://{host}:{port}",
        session=new_session(WAITING_SECONDS),
    )
    yield {"boto3": dynamo, "json": JsonClient("dynamodb", connection)}
    server.stop()


@pytest.fixture(params=["boto3", "json"])
def table(request: pytest.FixtureRequest, dynamo: Any, clients: dict[str, Any]) -> Table:
    return Table(clients[request.param], new_table(dynamo))


@pytest.fixture(params=["fake", "boto3", "json"])
def ledgers(request: pytest.FixtureRequest) -> Ledgers:
    if request.param == "fake":
        return fake_ledgers()
    clients, dynamo = (request.getfixturevalue(name) for name in ("clients", "dynamo"))
    return dynamo_ledgers(Table(clients[request.param], new_table(dynamo)))


def file(
    ledgers: Ledgers, request: AccessRequest | None = None, *, origin_id: str = "trigger-1", limit: int = 3
) -> str:
    """File a request that must be new; returns its id."""
    filed = ledgers.requests.file_request(request or a_request(), origin_id=origin_id, open_limit=limit)
    assert filed.is_new
    assert filed.request is not None
    return filed.request.request_id


class TestFilingRequests:
    def test_a_request_gets_its_id_from_its_origin(self, ledgers: Ledgers) -> None:
        """Nobody chooses the id of a request: it follows from the trigger that Slack sent once."""
        request_id = file(ledgers, a_request(request_id=""), origin_id="trigger-1")

        assert next(request_ids(Origin.SLACK, "trigger-1")) == request_id

    def test_a_filed_request_is_read_back_as_it_was_asked(self, ledgers: Ledgers) -> None:
        """Nothing of a request is lost in the ledger, and nothing stands under it yet."""
        request_id = file(ledgers, a_request(reason="naïve — “quoted” 🙂"))

        record = ledgers.requests.require_request(request_id)

        assert a_request(request_id=request_id, reason="naïve — “quoted” 🙂") == record.request
        assert (None, None, None, None, None, None, None) == (
            record.decisions,
            record.approval_token,
            record.hold_token,
            record.end_asked_at,
            record.approval_card,
            record.ready_card,
            record.outcome,
        )

    def test_a_repeated_delivery_files_nothing_new(self, ledgers: Ledgers) -> None:
        """Slack delivers at least once: the second delivery finds the first one's request, whatever it now says."""
        first = ledgers.requests.file_request(a_request(), origin_id="trigger-1", open_limit=3)
        again = ledgers.requests.file_request(a_request(reason="changed"), origin_id="trigger-1", open_limit=3)

        assert (first.request, False) == (again.request, again.is_new)

    def test_a_repeated_delivery_finds_even_a_closed_request(self, ledgers: Ledgers) -> None:
        """A delivery that comes after the end does not start a second life."""
        request_id = file(ledgers)
        ledgers.requests.close_request(ended(request_id, Outcome.FINISHED))

        again = ledgers.requests.file_request(a_request(), origin_id="trigger-1", open_limit=3)

        assert again.request is not None
        assert (request_id, False) == (again.request.request_id, again.is_new)

    def test_one_open_request_per_person_location_and_level(self, ledgers: Ledgers) -> None:
        """A second ask for the same access is told which request stands in its way."""
        request_id = file(ledgers)

        second = ledgers.requests.file_request(a_request(), origin_id="trigger-2", open_limit=3)

        assert (None, (request_id,), True) == (second.request, second.standing_in_the_way, second.is_same_ask)

    def test_too_many_open_requests_are_refused_with_their_ids(self, ledgers: Ledgers) -> None:
        """The limit counts every location and level of one person."""
        first = file(ledgers, a_request(level=READ), origin_id="trigger-1", limit=2)
        second = file(ledgers, a_request(level=WRITE), origin_id="trigger-2", limit=2)

        third = ledgers.requests.file_request(a_request(location="other"), origin_id="trigger-3", open_limit=2)

        assert (None, tuple(sorted([first, second])), False) == (
            third.request,
            third.standing_in_the_way,
            third.is_same_ask,
        )

    def test_other_people_are_not_counted(self, ledgers: Ledgers) -> None:
        """Bob may ask for what alice has asked for."""
        file(ledgers, a_request(person=ALICE), origin_id="trigger-1", limit=1)

        assert file(ledgers, a_request(person=BOB), origin_id="trigger-2", limit=1)

    def test_a_refused_ask_leaves_no_trace(self, ledgers: Ledgers) -> None:
        """What was refused is not filed, so a later ask of the same origin is judged anew."""
        first = file(ledgers)
        ledgers.requests.file_request(a_request(), origin_id="trigger-2", open_limit=3)
        ledgers.requests.close_request(ended(first, Outcome.FINISHED))

        assert file(ledgers, origin_id="trigger-2")

    def test_an_id_that_another_origin_holds_is_passed_over(self, ledgers: Ledgers) -> None:
        """Six characters collide some day: then the later request takes its next id and the earlier one stays."""
        taken, free, *_ = request_ids(Origin.SLACK, "trigger-2")
        squatter = a_request(request_id=taken, person=BOB)
        if isinstance(ledgers.requests, FakeRequestLedger):
            ledgers.requests.declare_request(squatter, origin_id="trigger-1")
        else:
            file_as(ledgers, squatter, origin_id="trigger-1")

        assert free == file(ledgers, origin_id="trigger-2")
        assert squatter == ledgers.requests.require_request(taken).request

    def test_many_requests_are_read_as_each_is_alone(self, ledgers: Ledgers) -> None:
        """In the order of their ids, each once, whatever is recorded under it, and nothing for an id that nobody has."""
        first, second, third = (
            file(ledgers, a_request(person=a_person(f"p{number}")), origin_id=f"trigger-{number}")
            for number in range(3)
        )
        ledgers.requests.open_decision(replace(a_record(), request_id=second), task_token=a_task_token("token"))
        ledgers.requests.ask_end(third, at=NOON)

        found = ledgers.requests.find_requests([third, "R-222222", first, second, third])

        assert [ledgers.requests.find_request(each) for each in (third, first, second)] == list(found)

    @pytest.mark.parametrize("is_stingy", [False, True])
    def test_more_requests_than_one_answer_holds_are_all_read(self, dynamo: Any, is_stingy: bool) -> None:
        """DynamoDB hands out a hundred items at most, and fewer than it was asked for where it likes."""
        ledgers = dynamo_ledgers(Table(Stingy(dynamo) if is_stingy else dynamo, new_table(dynamo)))
        filed = [
            file(ledgers, a_request(person=a_person(f"p{number}")), origin_id=f"trigger-{number}")
            for number in range(60)
        ]

        found = ledgers.requests.find_requests(filed)

        assert filed == [record.request.request_id for record in found]

    def test_an_unknown_request_is_said_to_be_unknown(self, ledgers: Ledgers) -> None:
        """Asking for what was never filed is an error, finding it is nothing."""
        assert ledgers.requests.find_request("R-XXXXXX") is None
        with pytest.raises(UnknownRequestError, match="R-XXXXXX"):
            ledgers.requests.require_request("R-XXXXXX")


def ended(request_id: str, outcome: Outcome = Outcome.FINISHED, **changes: Any) -> EndedRequest:
    """The end of alice's request at noon."""
    return an_ended_request(a_request(request_id=request_id), outcome=outcome, **changes)


def file_as(ledgers: Ledgers, request: AccessRequest, *, origin_id: str) -> None:
    """File under exactly this id, as the ledger does once it has chosen one."""
    assert isinstance(ledgers.requests, DynamoRequestLedger)
    filed = ledgers.requests._file_as(request, request.request_id, origin_id, 3)
    assert filed is not None


class TestDeciding:
    def test_opening_keeps_the_record_and_the_token(self, ledgers: Ledgers) -> None:
        """From now on people can decide, and whoever closes the deciding can wake the workflow."""
        request_id = file(ledgers)
        opened = a_record(request_id=request_id)

        assert opened == ledgers.requests.open_decision(opened, task_token=a_task_token("token-1"))
        record = ledgers.requests.require_request(request_id)
        assert (opened, "token-1") == (record.decisions, record.approval_token)

    def test_opening_again_keeps_what_was_decided_and_takes_the_newest_token(self, ledgers: Ledgers) -> None:
        """A retried state has a new token; decisions that were made meanwhile stay."""
        request_id = file(ledgers)
        ledgers.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token-1"))
        decided = a_record(BOB, request_id=request_id, needed=2)
        ledgers.requests.replace_decision(decided)

        assert decided == ledgers.requests.open_decision(
            a_record(request_id=request_id), task_token=a_task_token("token-2")
        )
        assert "token-2" == ledgers.requests.require_request(request_id).approval_token

    def test_of_two_decisions_on_the_same_record_one_stands(self, ledgers: Ledgers) -> None:
        """Two people decide on what they both saw: the second write is refused, and must be judged again."""
        request_id = file(ledgers)
        ledgers.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token-1"))
        yes = a_record(BOB, request_id=request_id, verdict=Verdict.APPROVED)
        no = replace(yes, verdict=Verdict.DENIED)

        assert [True, False] == [ledgers.requests.replace_decision(record) for record in (yes, no)]
        assert yes == ledgers.requests.require_request(request_id).decisions

    def test_nothing_is_decided_before_the_deciding_is_open(self, ledgers: Ledgers) -> None:
        """A decision on a request that waits for none is not written."""
        request_id = file(ledgers)

        assert not ledgers.requests.replace_decision(a_record(BOB, request_id=request_id))
        assert ledgers.requests.require_request(request_id).decisions is None


class TestKeeping:
    def test_cards_and_tokens_are_kept(self, ledgers: Ledgers) -> None:
        """What has to be updated or woken later stands under the request, each in its place."""
        request_id = file(ledgers)
        approval, ready = CardReference(channel="C0APPROVALS", ts="1.2"), CardReference(channel="D0ALICE", ts="3.4")
        ledgers.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token-1"))

        ledgers.requests.keep_card(request_id, "approval", approval)
        ledgers.requests.keep_hold_token(request_id, a_task_token("token-2"))
        ledgers.requests.keep_card(request_id, "ready", ready)

        record = ledgers.requests.require_request(request_id)
        assert (approval, ready, "token-1", "token-2") == (
            record.approval_card,
            record.ready_card,
            record.approval_token,
            record.hold_token,
        )

    def test_the_newest_hold_token_is_kept(self, ledgers: Ledgers) -> None:
        """Each hold waits for its own token."""
        request_id = file(ledgers)
        for token in ("token-1", "token-2"):
            ledgers.requests.keep_hold_token(request_id, a_task_token(token))

        assert "token-2" == ledgers.requests.require_request(request_id).hold_token

    @pytest.mark.parametrize("last", TURNS, ids=lambda token: token.text)
    def test_a_token_that_is_kept_late_replaces_none_of_a_later_turn(self, ledgers: Ledgers, last: TaskToken) -> None:
        """A call that was given up may take effect after the next try, or the next wait, has kept its own."""
        request_id = file(ledgers)
        for token in (*TURNS, last):
            ledgers.requests.open_decision(a_record(request_id=request_id), task_token=token)
            ledgers.requests.keep_hold_token(request_id, token)
            ledgers.requests.keep_review_token(request_id, token)

        record = ledgers.requests.require_request(request_id)
        assert {"entered again"} == {record.approval_token, record.hold_token, record.review_token}

    def test_who_asks_for_the_end_is_told_whom_to_wake(self, ledgers: Ledgers) -> None:
        """The hold, by the token that stood when the asking was recorded; nobody before there is one."""
        request_id = file(ledgers)
        told = [ledgers.requests.ask_end(request_id, at=NOON)]
        for token in ("token-1", "token-2"):
            ledgers.requests.keep_hold_token(request_id, a_task_token(token))
            told.append(ledgers.requests.ask_end(request_id, at=NOON))

        assert [None, "token-1", "token-2"] == told

    def test_the_first_asking_for_the_end_stands(self, ledgers: Ledgers) -> None:
        """Asking again changes nothing, and keeping a token afterwards does not forget it."""
        request_id = file(ledgers)
        for later in (0, 5):
            ledgers.requests.ask_end(request_id, at=NOON + minutes(later))
        ledgers.requests.keep_hold_token(request_id, a_task_token("token-1"))

        assert NOON == ledgers.requests.require_request(request_id).end_asked_at

    def test_every_card_is_kept_in_its_own_place(self, ledgers: Ledgers) -> None:
        """None takes another's, and a newer one of the same kind replaces the older."""
        request_id = file(ledgers)
        ledgers.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token-1"))
        ledgers.requests.open_review(a_review(request_id=request_id))
        ledgers.requests.keep_card(request_id, "soon", CardReference(channel="D0ALICE", ts="0.9"))
        for name in get_args(CardName):
            ledgers.requests.keep_card(request_id, name, CardReference(channel="C0EXAMPLE", ts=name))

        record = ledgers.requests.require_request(request_id)
        kept = [record.approval_card, record.asked_card, record.ready_card, record.soon_card, record.review_card]
        assert ["approval", "asked", "ready", "soon", "review"] == [card.ts if card else None for card in kept]

    @pytest.mark.parametrize("name", get_args(CardName))
    def test_a_card_that_is_kept_before_anything_else_does_no_harm(self, ledgers: Ledgers, name: CardName) -> None:
        """A request can be read, and its deciding and its review begun, whatever was kept first."""
        request_id = file(ledgers)
        ledgers.requests.keep_card(request_id, name, CardReference(channel="C0EXAMPLE", ts="1.2"))

        record = ledgers.requests.require_request(request_id)
        assert (None, None) == (record.decisions, record.review)
        assert a_record(request_id=request_id) == ledgers.requests.open_decision(
            a_record(request_id=request_id), task_token=a_task_token("token-1")
        )
        assert a_review(request_id=request_id) == ledgers.requests.open_review(a_review(request_id=request_id))

    def test_what_the_holder_was_told_is_kept_each_by_itself(self, ledgers: Ledgers) -> None:
        """The end and the instance that were told, the end that was warned of, and when telling was tried."""
        request_id = file(ledgers)
        ledgers.requests.keep_tell_try(request_id, at=NOON)
        ledgers.requests.keep_told(request_id, end=NOON + minutes(30))
        ledgers.requests.keep_told(request_id, warned=NOON + minutes(20))
        ledgers.requests.keep_told(request_id, end=NOON + minutes(60), instance_id="i-1")
        ledgers.requests.keep_told(request_id, end=NOON + minutes(60))

        record = ledgers.requests.require_request(request_id)
        ledgers.requests.keep_tell_try(request_id, at=None)
        assert (NOON, NOON + minutes(60), NOON + minutes(20), "i-1", None) == (
            record.tell_tried_at,
            record.told_end,
            record.warned_end,
            record.told_instance,
            ledgers.requests.require_request(request_id).tell_tried_at,
        )

    def test_a_told_end_equals_the_end_of_the_grant(self, ledgers: Ledgers) -> None:
        """Both lose what is smaller than a millisecond; else the holder would be told for ever."""
        request_id = file(ledgers)
        grant = a_grant(ends_at=NOON + timedelta(microseconds=1_234_567))
        ledgers.grants.create_grant(grant)
        ledgers.requests.keep_told(request_id, end=grant.ends_at)
        standing = ledgers.grants.find_grant(GRANT_KEY)

        assert standing is not None
        assert standing.ends_at == ledgers.requests.require_request(request_id).told_end


class TestReviews:
    def test_a_review_is_opened_once(self, ledgers: Ledgers) -> None:
        """Whoever opens it again finds it as it stands, its first deadline and what was judged."""
        request_id = file(ledgers)
        opened = a_review(request_id=request_id)
        judged = replace(opened, verdict=ReviewVerdict.JUSTIFIED, reviewer_id="T0EXAMPLE/U0BOB", note="ok", version=2)

        assert opened == ledgers.requests.open_review(opened)
        assert opened == ledgers.requests.open_review(replace(opened, due_at=NOON + minutes(9)))
        assert ledgers.requests.replace_review(judged)
        assert judged == ledgers.requests.open_review(opened) == ledgers.requests.require_request(request_id).review

    def test_of_two_reviews_at_once_one_stands(self, ledgers: Ledgers) -> None:
        """Both were judged by what both saw."""
        request_id = file(ledgers)
        ledgers.requests.open_review(a_review(request_id=request_id))
        first, second = (
            a_review(request_id=request_id, verdict=verdict, version=2)
            for verdict in (ReviewVerdict.JUSTIFIED, ReviewVerdict.NOT_JUSTIFIED)
        )

        assert [True, False] == [ledgers.requests.replace_review(review) for review in (first, second)]
        assert first == ledgers.requests.require_request(request_id).review

    def test_nothing_is_reviewed_before_the_review_is_open(self, ledgers: Ledgers) -> None:
        """Nor does a token that is kept early open it."""
        request_id = file(ledgers)
        ledgers.requests.keep_review_token(request_id, a_task_token("token-1"))

        assert not ledgers.requests.replace_review(a_review(request_id=request_id, version=2))
        record = ledgers.requests.require_request(request_id)
        assert (None, "token-1") == (record.review, record.review_token)

    def test_the_newest_review_token_outlives_opening_and_judging(self, ledgers: Ledgers) -> None:
        """Each waiting has its own."""
        request_id = file(ledgers)
        ledgers.requests.open_review(a_review(request_id=request_id))
        for token in ("token-1", "token-2"):
            ledgers.requests.keep_review_token(request_id, a_task_token(token))
        ledgers.requests.replace_review(a_review(request_id=request_id, verdict=ReviewVerdict.JUSTIFIED, version=2))

        assert "token-2" == ledgers.requests.require_request(request_id).review_token


class TestWaiting:
    """What waits for people, whoever they are."""

    def test_a_request_is_looked_after_until_its_end_was_told(self, ledgers: Ledgers) -> None:
        """Not only until the books are closed; the oldest first."""
        ids = [
            file(ledgers, a_request(level=level, asked_at=NOON - minutes(place)), origin_id=level)
            for place, level in enumerate((READ, WRITE, OPERATE))
        ]
        listed = [list(ledgers.requests.unreported_requests())]
        ledgers.requests.close_request(ended(ids[0], Outcome.FAILED))
        listed.append(list(ledgers.requests.unreported_requests()))
        ledgers.requests.keep_reported(ids[0])
        listed.append(list(ledgers.requests.unreported_requests()))
        told = [record.is_reported for record in ledgers.requests.find_requests(ids)]

        assert [ids[::-1], ids[::-1], ids[:0:-1]] == listed
        assert [True, False, False] == told

    def test_decisions_are_listed_soonest_end_first_until_they_are_closed(self, ledgers: Ledgers) -> None:
        """A half-decided one still waits; a closed one does not."""
        ids = [file(ledgers, a_request(level=level), origin_id=level) for level in (READ, WRITE, OPERATE)]
        for place, request_id in enumerate(ids):
            record = a_record(request_id=request_id, needed=2, closes_at=NOON + minutes(60 - place))
            ledgers.requests.open_decision(record, task_token=a_task_token("token"))
        listed = [ledgers.requests.requests_to_decide()]
        half = a_record(BOB, request_id=ids[1], needed=2, closes_at=NOON + minutes(59))
        ledgers.requests.replace_decision(half)
        listed.append(ledgers.requests.requests_to_decide())
        for verdict, request_id in ((Verdict.CANCELLED, ids[0]), (Verdict.APPROVED, ids[1])):
            standing = ledgers.requests.require_request(request_id).decisions
            assert standing is not None
            ledgers.requests.replace_decision(replace(standing, verdict=verdict, version=standing.version + 1))
        listed.append(ledgers.requests.requests_to_decide())

        assert [ids[::-1], ids[::-1], [ids[2]]] == [list(each) for each in listed]

    def test_reviews_are_listed_soonest_due_first_until_their_closing_was_noticed(self, ledgers: Ledgers) -> None:
        """Whether justified or not. Who closed one may have died before anybody heard of it."""
        ids = [file(ledgers, a_request(level=level), origin_id=level) for level in (READ, WRITE)]
        for place, request_id in enumerate(ids):
            ledgers.requests.open_review(a_review(request_id=request_id, due_at=NOON + minutes(60 - place)))
        listed = [ledgers.requests.requests_to_review()]
        ledgers.requests.replace_review(
            a_review(
                request_id=ids[1], due_at=NOON + minutes(59), verdict=ReviewVerdict.NOT_JUSTIFIED, note="no", version=2
            )
        )
        listed.append(ledgers.requests.requests_to_review())
        ledgers.requests.keep_reviewed(ids[1])
        listed.append(ledgers.requests.requests_to_review())

        assert [ids[::-1], ids[::-1], [ids[0]]] == [list(each) for each in listed]

    def test_what_waits_for_a_decision_waits_for_no_review(self, ledgers: Ledgers) -> None:
        """And grants are in neither list."""
        request_id = file(ledgers)
        ledgers.grants.create_grant(a_grant(a_request(request_id=request_id)))
        ledgers.requests.open_decision(a_record(request_id=request_id), task_token=a_task_token("token"))

        assert ([request_id], []) == (
            list(ledgers.requests.requests_to_decide()),
            list(ledgers.requests.requests_to_review()),
        )
        assert 1 == len(ledgers.grants.open_grants())

    def test_a_persons_own_open_requests_are_theirs_alone(self, ledgers: Ledgers) -> None:
        """By location and level, an extension after what it extends; without those that have ended."""
        read = file(ledgers, a_request(level=READ), origin_id="1", limit=9)
        operate = file(ledgers, a_request(level=OPERATE), origin_id="2", limit=9)
        extension = file(ledgers, a_request(level=OPERATE, extends=operate), origin_id="3", limit=9)
        file(ledgers, a_request(person=BOB), origin_id="4")
        before = list(ledgers.requests.open_request_ids(ALICE.person_id))
        ledgers.requests.close_request(ended(read))

        assert ([operate, extension, read], [operate, extension]) == (
            before,
            list(ledgers.requests.open_request_ids(ALICE.person_id)),
        )
        assert [] == list(ledgers.requests.open_request_ids("T0EXAMPLE/U0NOBODY"))


class TestExtensions:
    def test_an_extension_has_a_place_beside_what_it_extends(self, ledgers: Ledgers) -> None:
        """One at a time for each access."""
        held = file(ledgers)
        extension = file(ledgers, a_request(extends=held), origin_id="trigger-2")

        second = ledgers.requests.file_request(a_request(extends=held), origin_id="trigger-3", open_limit=9)

        assert (None, (extension,), True) == (second.request, second.standing_in_the_way, second.is_same_ask)

    def test_the_end_of_an_extension_frees_its_own_place_only(self, ledgers: Ledgers) -> None:
        """What it extended goes on, and can be extended again."""
        held = file(ledgers)
        extension = file(ledgers, a_request(extends=held), origin_id="trigger-2", limit=2)
        ledgers.requests.close_request(an_ended_request(a_request(request_id=extension, extends=held)))

        same = ledgers.requests.file_request(a_request(), origin_id="trigger-3", open_limit=9)
        assert (held,) == same.standing_in_the_way
        assert file(ledgers, a_request(extends=held), origin_id="trigger-4", limit=2)

    def test_an_extension_counts_among_the_open_requests(self, ledgers: Ledgers) -> None:
        """The limit is the caller's to choose."""
        held = file(ledgers, limit=1)
        refused = ledgers.requests.file_request(a_request(extends=held), origin_id="trigger-2", open_limit=1)

        assert (None, (held,), False) == (refused.request, refused.standing_in_the_way, refused.is_same_ask)


class TestHistory:
    def test_an_end_is_written_down_once(self, ledgers: Ledgers) -> None:
        """A second report of the same end adds nothing and changes nothing."""
        request_id = file(ledgers)
        first = ended(request_id, granted_at=NOON - minutes(30), bastion="main")
        ledgers.requests.close_request(first)
        ledgers.requests.close_request(ended(request_id, Outcome.FAILED, ended_at=NOON + minutes(1)))

        assert [first] == list(ledgers.requests.ended_requests(ALICE.person_id, most=5))
        assert [first] == list(ledgers.requests.ended_in("2026-11"))

    def test_the_last_ends_of_a_person_come_newest_first(self, ledgers: Ledgers) -> None:
        """As many as are wanted, and nobody else's."""
        ends = []
        for number in range(4):
            request_id = file(ledgers, origin_id=f"trigger-{number}")
            ends.append(ended(request_id, ended_at=NOON + minutes(number)))
            ledgers.requests.close_request(ends[-1])
        other = file(ledgers, a_request(person=BOB), origin_id="bob")
        ledgers.requests.close_request(an_ended_request(a_request(request_id=other, person=BOB)))

        assert ends[:1:-1] == list(ledgers.requests.ended_requests(ALICE.person_id, most=2))
        assert [] == list(ledgers.requests.ended_requests("T0EXAMPLE/U0NOBODY", most=2))

    @pytest.mark.parametrize(
        ("at", "month"),
        [
            ("2026-11-30T23:59:59.999Z", "2026-11"),
            ("2026-12-01T00:00:00.000Z", "2026-12"),
            ("2026-12-01T00:30:00.000+01:00", "2026-11"),
        ],
    )
    def test_a_month_is_a_month_of_utc(self, ledgers: Ledgers, at: str, month: str) -> None:
        """Whatever zone the instant was stated in."""
        request_id = file(ledgers)
        ledgers.requests.close_request(ended(request_id, ended_at=from_payload(datetime, at)))

        found = {each: len(ledgers.requests.ended_in(each)) for each in ("2026-11", "2026-12")}
        assert {"2026-11": 0, "2026-12": 0} | {month: 1} == found

    def test_what_was_approved_is_remembered_and_what_was_asked_is_freed(self, ledgers: Ledgers) -> None:
        """Alice asked to write and was given reading: her place was that of writing."""
        request_id = file(ledgers, a_request(level=WRITE))
        as_read = an_ended_request(a_request(request_id=request_id, level=READ, duration_seconds=600))
        ledgers.requests.close_request(as_read)

        assert [as_read] == list(ledgers.requests.ended_requests(ALICE.person_id, most=5))
        assert file(ledgers, a_request(level=WRITE), origin_id="trigger-2", limit=1)


class TestPreferences:
    def test_nobody_has_any_at_first(self, ledgers: Ledgers) -> None:
        """The usual port and no profile."""
        assert Preferences() == ledgers.requests.find_preferences(ALICE.person_id)

    def test_the_last_ones_are_each_persons_own(self, ledgers: Ledgers) -> None:
        """And can be forgotten; open requests are not touched by it."""
        request_id = file(ledgers)
        for given in (Preferences(port=50000), Preferences(port=50001, profile="dev")):
            ledgers.requests.keep_preferences(ALICE.person_id, given)
        kept = [ledgers.requests.find_preferences(each.person_id) for each in (ALICE, BOB)]
        ledgers.requests.keep_preferences(ALICE.person_id, Preferences())

        assert [Preferences(port=50001, profile="dev"), Preferences()] == kept
        assert Preferences() == ledgers.requests.find_preferences(ALICE.person_id)
        assert [request_id] == list(ledgers.requests.open_request_ids(ALICE.person_id))


class TestClosingRequests:
    def test_closing_records_the_outcome(self, ledgers: Ledgers) -> None:
        """The books name the end."""
        request_id = file(ledgers)

        ledgers.requests.close_request(ended(request_id, Outcome.DENIED))

        assert ledgers.requests.require_request(request_id).outcome is Outcome.DENIED

    def test_the_first_outcome_stands(self, ledgers: Ledgers) -> None:
        """A second report does not rewrite the books."""
        request_id = file(ledgers)
        for outcome in (Outcome.FINISHED, Outcome.FAILED):
            ledgers.requests.close_request(ended(request_id, outcome))

        assert ledgers.requests.require_request(request_id).outcome is Outcome.FINISHED

    def test_closing_frees_the_place_for_the_next_ask(self, ledgers: Ledgers) -> None:
        """After the end the person may ask for the same again."""
        first = file(ledgers, limit=1)
        ledgers.requests.close_request(ended(first, Outcome.FINISHED))

        assert first != file(ledgers, origin_id="trigger-2", limit=1)

    def test_closing_again_does_not_free_the_place_of_the_next_request(self, ledgers: Ledgers) -> None:
        """A late second report of an old request takes nothing from the new one, nor from the count."""
        first = file(ledgers)
        ledgers.requests.close_request(ended(first, Outcome.FINISHED))
        second = file(ledgers, origin_id="trigger-2")
        ledgers.requests.close_request(ended(first, Outcome.FINISHED))

        third = ledgers.requests.file_request(a_request(), origin_id="trigger-3", open_limit=3)
        other = ledgers.requests.file_request(a_request(level=READ), origin_id="trigger-4", open_limit=1)

        assert ((second,), (second,)) == (third.standing_in_the_way, other.standing_in_the_way)

    def test_an_unknown_request_cannot_be_closed(self, ledgers: Ledgers) -> None:
        """There is nothing whose end could be recorded."""
        with pytest.raises(UnknownRequestError):
            ledgers.requests.close_request(ended("R-XXXXXX", Outcome.FAILED))


ORDERED = a_grant(is_ordered=True)
GRANT_KEY = ORDERED.facts.key
NEXT_REQUEST = a_request(request_id="R-NEXT22")


class TestGrants:
    def test_a_grant_is_read_back_as_it_was_written(self, ledgers: Ledgers) -> None:
        """Revocation lives on these facts."""
        grant = delivered(a_grant(is_ordered=True), instance_id="i-1", writer=WRITER, now=NOON + seconds(5))

        assert grant == ledgers.grants.create_grant(grant)
        assert grant == ledgers.grants.find_grant(GRANT_KEY)

    def test_a_grant_that_was_never_made_is_none(self, ledgers: Ledgers) -> None:
        """Finding is no promise."""
        assert ledgers.grants.find_grant("orders-prod#T0EXAMPLE/U0ALICE#o") is None

    def test_creating_again_finds_the_grant_as_it_stands(self, ledgers: Ledgers) -> None:
        """A repeated confirmation neither moves the end nor forgets that provisioning was ordered."""
        ledgers.grants.create_grant(a_grant())
        ledgers.grants.replace_grant(a_grant(), ORDERED)

        assert ORDERED == ledgers.grants.create_grant(a_grant(ends_at=NOON + minutes(999)))

    @pytest.mark.parametrize("state", [GrantState.ENDING, GrantState.GONE])
    def test_a_grant_never_comes_back_to_life(self, ledgers: Ledgers, state: GrantState) -> None:
        """A confirmation that is carried out twice, the second time after the end, gives nothing again."""
        ledgers.grants.create_grant(a_grant())
        ledgers.grants.replace_grant(a_grant(), a_grant(state=state))

        assert a_grant(state=state) == ledgers.grants.create_grant(a_grant())
        assert a_grant(state=state) == ledgers.grants.find_grant(GRANT_KEY)

    def test_another_requests_live_grant_stands(self, ledgers: Ledgers) -> None:
        """One grant per person, location and level: the second request is shown the first one's."""
        ledgers.grants.create_grant(a_grant())

        assert a_grant() == ledgers.grants.create_grant(a_grant(NEXT_REQUEST))

    def test_a_new_request_waits_while_the_grant_before_it_is_ending(self, ledgers: Ledgers) -> None:
        """Provisioning and revoking of one role must not cross."""
        ledgers.grants.create_grant(a_grant(state=GrantState.ENDING))

        with pytest.raises(GrantEndingError):
            ledgers.grants.create_grant(a_grant(NEXT_REQUEST))

    def test_a_new_request_takes_the_place_of_a_grant_that_is_gone(self, ledgers: Ledgers) -> None:
        """The receipt alone makes room."""
        ledgers.grants.create_grant(a_grant(state=GrantState.GONE))

        assert a_grant(NEXT_REQUEST) == ledgers.grants.create_grant(a_grant(NEXT_REQUEST))
        assert a_grant(NEXT_REQUEST) == ledgers.grants.find_grant(GRANT_KEY)

    def test_levels_and_people_have_grants_of_their_own(self, ledgers: Ledgers) -> None:
        """The identity of a grant is location, person and level."""
        grants = [a_grant(), a_grant(a_request(level=READ)), a_grant(a_request(person=BOB))]

        assert grants == [ledgers.grants.create_grant(grant) for grant in grants]
        assert grants == [ledgers.grants.find_grant(grant.facts.key) for grant in grants]

    @pytest.mark.parametrize(
        "standing",
        [
            a_grant(NEXT_REQUEST),
            a_grant(state=GrantState.ENDING),
            a_grant(ends_at=NOON),
            a_grant(is_ordered=True),
            a_grant(instance_id="i-2"),
        ],
        ids=["another request", "another state", "another end", "ordered meanwhile", "another bastion meanwhile"],
    )
    def test_replacing_is_refused_when_the_grant_is_not_as_it_was_seen(self, ledgers: Ledgers, standing: Grant) -> None:
        """Whoever looked too early looks again; above all, an order that was noted meanwhile is never forgotten."""
        ledgers.grants.create_grant(standing)

        assert not ledgers.grants.replace_grant(a_grant(), a_grant(state=GrantState.ENDING))
        assert standing == ledgers.grants.find_grant(GRANT_KEY)

    def test_replacing_what_was_never_made_is_refused(self, ledgers: Ledgers) -> None:
        """A replacement never creates."""
        assert not ledgers.grants.replace_grant(a_grant(), a_grant(state=GrantState.ENDING))
        assert ledgers.grants.find_grant(GRANT_KEY) is None

    def test_an_end_with_microseconds_can_be_replaced(self, ledgers: Ledgers) -> None:
        """The ledger keeps milliseconds; who still holds the finer value sees the same grant."""
        fine = a_grant(ends_at=NOON + seconds(1.000999))
        ledgers.grants.create_grant(fine)

        assert ledgers.grants.replace_grant(fine, replace(fine, state=GrantState.ENDING))

    def test_open_grants_are_those_not_gone_soonest_end_first(self, ledgers: Ledgers) -> None:
        """Housekeeping sees everybody's, and nothing that a receipt has closed."""
        late = a_grant(a_request(person=BOB), ends_at=NOON + minutes(50))
        soon = a_grant(ends_at=NOON + minutes(10), state=GrantState.ENDING)
        gone = a_grant(a_request(level=READ), ends_at=NOON)
        for grant in (late, soon, gone):
            ledgers.grants.create_grant(grant)
        ledgers.grants.replace_grant(gone, replace(gone, state=GrantState.GONE))

        assert [soon, late] == list(ledgers.grants.open_grants())

    def test_a_grant_in_the_place_of_a_gone_one_is_open_again(self, ledgers: Ledgers) -> None:
        """Housekeeping sees the newcomer."""
        ledgers.grants.create_grant(a_grant())
        ledgers.grants.replace_grant(a_grant(), a_grant(state=GrantState.GONE))
        ledgers.grants.create_grant(a_grant(NEXT_REQUEST))

        assert [a_grant(NEXT_REQUEST)] == list(ledgers.grants.open_grants())


def a_standing_bastion(ledgers: Ledgers, **fields: Any) -> Bastion:
    """A bastion in the ledger with these fields and no lease."""
    ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(5))
    ledgers.bastions.release_lease("main", "R-FIRST2", at=NOON)
    absent = ledgers.bastions.find_bastion("main")
    assert ledgers.bastions.replace_bastion(absent, replace(absent, **fields), only_if_unleased=True)
    return ledgers.bastions.find_bastion("main")


class TestLeases:
    def test_a_bastion_that_nobody_has_used_is_absent(self, ledgers: Ledgers) -> None:
        """The ledger need not be told of bastions in advance."""
        assert Bastion(name="main") == ledgers.bastions.find_bastion("main")

    def test_the_first_lease_is_one_on_an_absent_bastion(self, ledgers: Ledgers) -> None:
        """Taking comes before launching."""
        assert ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON)
        assert Bastion(name="main", leases={"R-FIRST2": NOON}) == ledgers.bastions.find_bastion("main")

    def test_many_requests_share_one_bastion(self, ledgers: Ledgers) -> None:
        """Each holds its own claim, with its own end."""
        for number in range(3):
            assert ledgers.bastions.take_lease("main", f"R-{number}", until=NOON + minutes(number))

        expected = {f"R-{number}": NOON + minutes(number) for number in range(3)}
        assert expected == ledgers.bastions.find_bastion("main").leases

    def test_renewing_a_lease_is_taking_it_again(self, ledgers: Ledgers) -> None:
        """The later taking decides the end."""
        for later in (5, 90):
            ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(later))

        assert {"R-FIRST2": NOON + minutes(90)} == ledgers.bastions.find_bastion("main").leases

    def test_a_lease_is_never_shortened(self, ledgers: Ledgers) -> None:
        """Whoever asks late for less, such as a try that was believed dead, takes nothing from what was asked since."""
        for later in (90, 5):
            assert ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(later))

        assert {"R-FIRST2": NOON + minutes(90)} == ledgers.bastions.find_bastion("main").leases

    def test_a_lease_may_be_asked_for_twice_by_a_finer_clock_than_the_ledgers(self, ledgers: Ledgers) -> None:
        """What is kept is a part of a millisecond shorter than what was asked for, and is that lease all the same."""
        until = NOON + timedelta(microseconds=1999)

        assert [True, True] == [ledgers.bastions.take_lease("main", "R-FIRST2", until=until) for _ in range(2)]

    @pytest.mark.parametrize("state", sorted(CLOSED_TO_LEASES))
    def test_asking_for_less_is_no_lease_on_a_bastion_that_is_going_down(
        self, ledgers: Ledgers, state: BastionState
    ) -> None:
        """Though one stands there, which only a stop that came too late can bring about."""
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(90))
        standing = ledgers.bastions.find_bastion("main")
        ledgers.bastions.replace_bastion(standing, replace(standing, state=state), only_if_unleased=False)

        assert not ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(5))

    @pytest.mark.parametrize("state", BastionState)
    def test_no_lease_is_given_on_a_bastion_that_is_going_down(self, ledgers: Ledgers, state: BastionState) -> None:
        """The one refusal: a stop that has been called cannot be called back."""
        a_standing_bastion(ledgers, state=state, instance_id="i-1")
        is_open = state not in {BastionState.STOPPING, BastionState.TERMINATING}

        assert is_open == ledgers.bastions.take_lease("main", "R-NEXT22", until=NOON + minutes(5))
        assert is_open == bool(ledgers.bastions.find_bastion("main").leases)

    def test_a_full_bastion_takes_nobody_more_but_renews(self, ledgers: Ledgers) -> None:
        """A place is free again once somebody leaves."""
        asked = [f"R-{number:02}" for number in range(LEASES_PER_BASTION + 1)]
        taken = [ledgers.bastions.take_lease("main", each, until=NOON) for each in asked]
        is_renewed = ledgers.bastions.take_lease("main", asked[0], until=NOON + minutes(5))
        ledgers.bastions.release_lease("main", asked[1], at=NOON)

        assert [True] * LEASES_PER_BASTION + [False] == taken
        assert is_renewed
        assert ledgers.bastions.take_lease("main", asked[-1], until=NOON)

    def test_bastions_are_found_in_the_order_of_their_names(self, ledgers: Ledgers) -> None:
        """Only those of which the ledger was told."""
        for name in ("main", "main.3"):
            ledgers.bastions.take_lease(name, "R-FIRST2", until=NOON)

        found = ledgers.bastions.find_bastions(["main.3", "main.2", "main"])
        assert ["main.3", "main"] == [bastion.name for bastion in found]
        assert ledgers.bastions.find_bastion("main.3") == found[0]

    def test_a_bastion_is_idle_from_when_its_last_lease_is_released(self, ledgers: Ledgers) -> None:
        """Not from when any is."""
        for request_id in ("R-FIRST2", "R-NEXT22"):
            ledgers.bastions.take_lease("main", request_id, until=NOON + minutes(90))
        idle = []
        for later, request_id in enumerate(("R-FIRST2", "R-NEXT22")):
            ledgers.bastions.release_lease("main", request_id, at=NOON + minutes(later))
            idle.append(ledgers.bastions.find_bastion("main").idle_since)

        assert [None, NOON + minutes(1)] == idle

    def test_releasing_again_changes_nothing(self, ledgers: Ledgers) -> None:
        """A retried release does not make the bastion look freshly used."""
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(90))
        for later in (1, 9):
            ledgers.bastions.release_lease("main", "R-FIRST2", at=NOON + minutes(later))

        assert NOON + minutes(1) == ledgers.bastions.find_bastion("main").idle_since

    def test_releasing_on_a_bastion_never_heard_of_is_nothing(self, ledgers: Ledgers) -> None:
        """A request that never leased one may still be closed."""
        ledgers.bastions.release_lease("main", "R-FIRST2", at=NOON)
        ledgers.bastions.expire_lease("main", "R-FIRST2", seen=NOON)
        ledgers.bastions.mark_idle("main", at=NOON)

        assert Bastion(name="main") == ledgers.bastions.find_bastion("main")

    def test_an_expired_lease_is_removed_and_idleness_counts_from_its_end(self, ledgers: Ledgers) -> None:
        """Its holder died without releasing it; the time since is idle time."""
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON)

        ledgers.bastions.expire_lease("main", "R-FIRST2", seen=NOON)

        assert Bastion(name="main", idle_since=NOON) == ledgers.bastions.find_bastion("main")

    def test_a_lease_that_was_renewed_since_it_was_seen_stays(self, ledgers: Ledgers) -> None:
        """Housekeeping that looked too early takes nothing away."""
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON)
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON + minutes(5))

        ledgers.bastions.expire_lease("main", "R-FIRST2", seen=NOON)

        assert {"R-FIRST2": NOON + minutes(5)} == ledgers.bastions.find_bastion("main").leases

    def test_idleness_is_noted_once_and_ends_with_the_next_lease(self, ledgers: Ledgers) -> None:
        """It counts from its beginning, and a later lease begins anew."""
        a_standing_bastion(ledgers)
        ledgers.bastions.mark_idle("main", at=NOON + minutes(5))
        noted = ledgers.bastions.find_bastion("main").idle_since
        ledgers.bastions.take_lease("main", "R-NEXT22", until=NOON + minutes(90))
        ledgers.bastions.mark_idle("main", at=NOON + minutes(6))

        assert (NOON, None) == (noted, ledgers.bastions.find_bastion("main").idle_since)


class TestReplacingBastions:
    def test_everything_but_leases_and_idleness_is_written(self, ledgers: Ledgers) -> None:
        """Leases have writes of their own, so a replacement from an old reading cannot lose one."""
        seen = a_standing_bastion(ledgers)
        ledgers.bastions.take_lease("main", "R-NEXT22", until=NOON + minutes(90))
        running = replace(seen, state=BastionState.RUNNING, instance_id="i-1", launched_at=NOON, generation=3)

        assert ledgers.bastions.replace_bastion(seen, running, only_if_unleased=False)
        expected = replace(running, leases={"R-NEXT22": NOON + minutes(90)}, idle_since=None)
        assert expected == ledgers.bastions.find_bastion("main")

    @pytest.mark.parametrize(
        "changed",
        [
            {"state": BastionState.STOPPED},
            {"generation": 2},
            {"instance_id": "i-2"},
            {"instance_id": None},
            {"stop_called_at": NOON},
        ],
    )
    def test_replacing_is_refused_when_the_bastion_is_not_as_it_was_seen(
        self, ledgers: Ledgers, changed: dict[str, Any]
    ) -> None:
        """Two who drive the same bastion do not undo each other's steps."""
        seen = a_standing_bastion(ledgers, state=BastionState.RUNNING, generation=1, instance_id="i-1")
        standing = replace(seen, **changed)
        ledgers.bastions.replace_bastion(seen, standing, only_if_unleased=False)

        assert not ledgers.bastions.replace_bastion(
            seen, replace(seen, state=BastionState.STOPPING), only_if_unleased=False
        )
        assert standing == ledgers.bastions.find_bastion("main")

    def test_a_stop_is_refused_under_a_lease(self, ledgers: Ledgers) -> None:
        """The lease may have been taken after the bastion was seen unleased."""
        seen = a_standing_bastion(ledgers, state=BastionState.RUNNING, instance_id="i-1")
        ledgers.bastions.take_lease("main", "R-NEXT22", until=NOON + minutes(90))

        assert not ledgers.bastions.replace_bastion(
            seen, replace(seen, state=BastionState.STOPPING), only_if_unleased=True
        )
        assert ledgers.bastions.find_bastion("main").state is BastionState.RUNNING

    def test_a_lease_past_its_end_still_guards_until_it_is_removed(self, ledgers: Ledgers) -> None:
        """A stop asks for no lease at all; whether one has expired is somebody else's question."""
        ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON - minutes(90))
        seen = ledgers.bastions.find_bastion("main")

        assert not ledgers.bastions.replace_bastion(
            seen, replace(seen, state=BastionState.STOPPING), only_if_unleased=True
        )

    def test_a_bastion_never_heard_of_cannot_be_replaced(self, ledgers: Ledgers) -> None:
        """Nobody drives a bastion that nobody leased."""
        absent = ledgers.bastions.find_bastion("main")

        assert not ledgers.bastions.replace_bastion(
            absent, replace(absent, state=BastionState.RUNNING), only_if_unleased=False
        )


class TestAudit:
    def test_entries_stand_in_the_order_in_which_they_were_written(self, ledgers: Ledgers) -> None:
        """With their facts as plain JSON."""
        ledgers.audit.append("R-FIRST2", AuditEvent.ASKED, {"request": a_request()}, at=NOON)
        ledgers.audit.append(
            "R-FIRST2", AuditEvent.ENDED, {"tunnel": a_tunnel(), "asked": False, "left": None}, at=NOON
        )
        ledgers.audit.append("R-NEXT22", AuditEvent.ASKED, {}, at=NOON)

        first, second = ledgers.entries("R-FIRST2")

        assert ("asked", "2026-11-20T12:00:00.000Z", "U0ALICE") == (
            first["event"],
            first["at"],
            first["facts"]["request"]["person"]["slack"],
        )
        assert ("ended", False, None, "alice-0123456789abcdef0") == (
            second["event"],
            second["facts"]["asked"],
            second["facts"]["left"],
            second["facts"]["tunnel"]["session_id"],
        )

    def test_the_same_event_with_the_same_facts_stands_once(self, ledgers: Ledgers) -> None:
        """Steps are repeated, and tell what they did at another time; other facts are another happening."""
        for at, view in ((NOON, "V1"), (NOON + seconds(5), "V1"), (NOON, "V2")):
            ledgers.audit.append("R-FIRST2", AuditEvent.TOKEN_MADE, {"view": view}, at=at)
        ledgers.audit.append("R-FIRST2", AuditEvent.TOKEN_REFUSED, {"view": "V1"}, at=NOON)

        assert [("token made", "V1"), ("token made", "V2"), ("token refused", "V1")] == [
            (entry["event"], entry["facts"]["view"]) for entry in ledgers.entries("R-FIRST2")
        ]


class TestDynamoAlone:
    """What only the real ledgers can get wrong."""

    @pytest.mark.parametrize("broken_at", [0, 1])
    def test_closing_a_request_is_done_wholly_or_not_at_all(self, dynamo: Any, broken_at: int) -> None:
        """A ledger that fails between two writes must not leave a person who can never ask again."""
        name = new_table(dynamo)
        sound = dynamo_ledgers(Table(dynamo, name))
        request_id = file(sound)
        breaking = DynamoRequestLedger(Table(Breaking(dynamo, broken_at), name))
        with suppress(LedgerUnavailableError):
            breaking.close_request(ended(request_id, Outcome.FINISHED))

        is_closed = sound.requests.require_request(request_id).outcome is not None
        next_one = sound.requests.file_request(a_request(), origin_id="trigger-2", open_limit=3)
        assert is_closed == next_one.is_new

    def test_filing_that_fails_half_way_files_nothing(self, dynamo: Any) -> None:
        """The person's place and the request are taken together."""
        name = new_table(dynamo)
        with pytest.raises(LedgerUnavailableError):
            DynamoRequestLedger(Table(Breaking(dynamo, 0), name)).file_request(
                a_request(), origin_id="trigger-1", open_limit=3
            )

        assert file(dynamo_ledgers(Table(dynamo, name)))

    def test_when_every_id_is_another_origins_the_ask_fails_and_can_be_repeated(self, table: Table) -> None:
        """Practically never; then the person asks again with another trigger."""
        ledgers = dynamo_ledgers(table)
        for number, taken in enumerate(request_ids(Origin.SLACK, "trigger-2")):
            person = a_person(f"p{number}")
            file_as(ledgers, a_request(request_id=taken, person=person), origin_id=f"other-{number}")

        with pytest.raises(LedgerUnavailableError, match="Ask again"):
            ledgers.requests.file_request(a_request(), origin_id="trigger-2", open_limit=3)

    def test_what_an_earlier_release_wrote_is_still_read(self, table: Table) -> None:
        """A request that was under way when a new release came is decided, held and ended by the new one."""
        for sk, item in EARLIER_REQUEST.items():
            table.write(Write(key=("REQUEST#R-FIRST2", sk), item=item))
        table.write(
            Write(key=("GRANT#orders-prod#T0EXAMPLE/U0ALICE#o", "GRANT"), item=EARLIER_GRANT | {"watch": "GRANT"})
        )
        table.write(
            Write(key=("PERSON#T0EXAMPLE/U0ALICE", "OPEN"), item={"slot:orders-prod#o": "R-FIRST2", "open_count": 1})
        )
        ledgers = dynamo_ledgers(table)

        record, grant = ledgers.requests.require_request("R-FIRST2"), ledgers.grants.find_grant(GRANT_KEY)
        assert record.decisions is not None
        assert grant is not None
        assert a_request(request_id="R-FIRST2") == record.request == record.approved
        assert (Verdict.APPROVED, {BOB.person_id}) == (record.decisions.verdict, record.decisions.approvers())
        assert ("1.2", "3.4", "token-1", "token-2") == (
            record.approval_card and record.approval_card.ts,
            record.ready_card and record.ready_card.ts,
            record.approval_token,
            record.hold_token,
        )
        assert (GrantState.LIVE, (), False) == (grant.state, grant.extension_ids, grant.is_break_glass)
        assert ledgers.grants.replace_grant(grant, replace(grant, state=GrantState.ENDING))
        ledgers.requests.close_request(ended("R-FIRST2"))
        assert [] == list(ledgers.requests.open_request_ids(ALICE.person_id))
        assert 1 == len(ledgers.requests.ended_requests(ALICE.person_id, most=5))

    def test_a_token_replaces_what_an_earlier_release_kept(self, table: Table) -> None:
        """That knew of no turns."""
        for sk, item in EARLIER_REQUEST.items():
            table.write(Write(key=("REQUEST#R-FIRST2", sk), item=item))
        requests = dynamo_ledgers(table).requests
        requests.keep_hold_token("R-FIRST2", a_task_token("newer"))

        assert "newer" == requests.require_request("R-FIRST2").hold_token

    @pytest.mark.parametrize(
        "damage",
        [{"state": {"S": "eternal"}}, {"grant": {"S": "?"}}, {"grant": {"NULL": True}}, {"more": {"SS": ["?"]}}],
        ids=["contradiction", "no grant", "nothing", "foreign type"],
    )
    def test_one_unreadable_item_keeps_no_other_from_being_seen_to(self, dynamo: Any, damage: dict[str, Any]) -> None:
        """It is reported, so that somebody looks; where nobody would hear of it, nothing is read instead of some."""
        name, told = new_table(dynamo), list[str]()
        sound = dynamo_ledgers(Table(dynamo, name))
        sound.grants.create_grant(a_grant())
        other = a_grant(person=BOB, request_id="R-SECND2")
        sound.grants.create_grant(other)
        key = {"pk": {"S": f"GRANT#{GRANT_KEY}"}, "sk": {"S": "GRANT"}}
        item = dynamo.get_item(TableName=name, Key=key)["Item"]
        dynamo.put_item(TableName=name, Item={**item, **damage})

        assert [other] == list(DynamoGrantLedger(Table(dynamo, name, told.append)).open_grants())
        assert 1 == len([said for said in told if said.startswith(f"unreadable in the ledger: GRANT#{GRANT_KEY}")])
        with pytest.raises(PayloadError):
            sound.grants.open_grants()

    def test_one_unreadable_request_keeps_no_other_from_being_read(self, dynamo: Any) -> None:
        """The same where many requests are read at once."""
        name, told = new_table(dynamo), list[str]()
        first = file(dynamo_ledgers(Table(dynamo, name)))
        second = file(dynamo_ledgers(Table(dynamo, name)), a_request(person=BOB), origin_id="trigger-2")
        key = {"pk": {"S": f"REQUEST#{first}"}, "sk": {"S": "REQUEST"}}
        item = dynamo.get_item(TableName=name, Key=key)["Item"]
        dynamo.put_item(TableName=name, Item={**item, "outcome": {"S": "?"}})

        requests = DynamoRequestLedger(Table(dynamo, name, told.append))
        assert [second] == [record.request.request_id for record in requests.find_requests([first, second])]
        assert [f"REQUEST#{first}"] == [said.split(": ")[1] for said in told]

    def test_reading_follows_every_page(self, table: Table) -> None:
        """DynamoDB hands out at most a megabyte at a time; housekeeping must not miss the rest."""
        for number in range(5):
            table.write(Write(key=("PAGES", f"{number}"), item={"padding": "x" * 380_000}))

        assert ["0", "1", "2", "3", "4"] == [item["sk"] for item in table.query("PAGES")]
        assert ["4", "3"] == [item["sk"] for item in table.query("PAGES", last=2)]

    @pytest.mark.parametrize(
        "call",
        [
            lambda ledgers: ledgers.requests.file_request(a_request(), origin_id="trigger-1", open_limit=3),
            lambda ledgers: ledgers.requests.find_request("R-FIRST2"),
            lambda ledgers: ledgers.requests.find_requests(["R-FIRST2"]),
            lambda ledgers: ledgers.requests.open_decision(a_record(), task_token=a_task_token("token")),
            lambda ledgers: ledgers.requests.replace_decision(a_record(BOB)),
            lambda ledgers: ledgers.requests.keep_hold_token("R-FIRST2", a_task_token("token")),
            lambda ledgers: ledgers.requests.ask_end("R-FIRST2", at=NOON),
            lambda ledgers: ledgers.requests.close_request(ended("R-FIRST2", Outcome.FAILED)),
            lambda ledgers: ledgers.requests.keep_card("R-FIRST2", "soon", CardReference(channel="D0ALICE", ts="1.2")),
            lambda ledgers: ledgers.requests.keep_told("R-FIRST2", end=NOON),
            lambda ledgers: ledgers.requests.keep_tell_try("R-FIRST2", at=NOON),
            lambda ledgers: ledgers.requests.open_review(a_review()),
            lambda ledgers: ledgers.requests.replace_review(a_review(version=2)),
            lambda ledgers: ledgers.requests.keep_review_token("R-FIRST2", a_task_token("token")),
            lambda ledgers: ledgers.requests.keep_reviewed("R-FIRST2"),
            lambda ledgers: ledgers.requests.open_request_ids(ALICE.person_id),
            lambda ledgers: ledgers.requests.requests_to_decide(),
            lambda ledgers: ledgers.requests.requests_to_review(),
            lambda ledgers: ledgers.requests.keep_reported("R-FIRST2"),
            lambda ledgers: ledgers.requests.unreported_requests(),
            lambda ledgers: ledgers.requests.ended_requests(ALICE.person_id, most=5),
            lambda ledgers: ledgers.requests.ended_in("2026-11"),
            lambda ledgers: ledgers.requests.find_preferences(ALICE.person_id),
            lambda ledgers: ledgers.requests.keep_preferences(ALICE.person_id, Preferences()),
            lambda ledgers: ledgers.grants.create_grant(a_grant()),
            lambda ledgers: ledgers.grants.find_grant(GRANT_KEY),
            lambda ledgers: ledgers.grants.replace_grant(a_grant(), a_grant()),
            lambda ledgers: ledgers.grants.open_grants(),
            lambda ledgers: ledgers.bastions.find_bastion("main"),
            lambda ledgers: ledgers.bastions.take_lease("main", "R-FIRST2", until=NOON),
            lambda ledgers: ledgers.bastions.release_lease("main", "R-FIRST2", at=NOON),
            lambda ledgers: ledgers.bastions.expire_lease("main", "R-FIRST2", seen=NOON),
            lambda ledgers: ledgers.bastions.mark_idle("main", at=NOON),
            lambda ledgers: ledgers.bastions.replace_bastion(
                Bastion(name="main"), Bastion(name="main"), only_if_unleased=True
            ),
            lambda ledgers: ledgers.audit.append("R-FIRST2", AuditEvent.ASKED, {}, at=NOON),
        ],
    )
    @pytest.mark.parametrize("trouble", ["no table", "no network"])
    def test_a_ledger_that_does_not_answer_is_named_and_retried(
        self, dynamo: Any, call: Callable[[Ledgers], object], trouble: str
    ) -> None:
        """Whatever DynamoDB or the network says becomes the one error that the workflow retries, without AWS's words."""
        client = dynamo if trouble == "no table" else new_client(endpoint_url="http://127.0.0.1:1")

        with pytest.raises(LedgerUnavailableError) as caught:
            call(dynamo_ledgers(Table(client, "no-such-table")))

        assert "arn:" not in str(caught.value)
        assert caught.value.__cause__ is not None


_INSTANT = "2026-11-20T12:00:00.000Z"
_PERSON = {"name": "alice", "team": "T0EXAMPLE", "slack": "U0ALICE", "aws": []}
EARLIER_REQUEST: dict[str, dict[str, Any]] = {
    "REQUEST": {
        "origin": "trigger-1",
        "request": {
            "request_id": "R-FIRST2",
            "person": _PERSON,
            "location": "orders-prod",
            "level": "o",
            "duration_seconds": 1800,
            "reason": "fix a stuck order",
            "asked_at": _INSTANT,
        },
    },
    "DECISION": {
        "decision": {
            "request_id": "R-FIRST2",
            "verdict": "approved",
            "needed": 1,
            "closes_at": "2026-11-20T13:00:00.000Z",
            "decisions": [{"person_id": "T0EXAMPLE/U0BOB", "approves": True, "at": _INSTANT}],
            "version": 2,
        },
        "version": 2,
        "task_token": "token-1",
        "card": {"channel": "C0APPROVALS", "ts": "1.2"},
    },
    "HOLD": {"task_token": "token-2", "card": {"channel": "D0ALICE", "ts": "3.4"}},
}
EARLIER_GRANT: dict[str, Any] = {
    "request_id": "R-FIRST2",
    "state": "live",
    "ends_at": "2026-11-20T12:45:00.000Z",
    "grant": {
        "facts": {
            "request_id": "R-FIRST2",
            "person": _PERSON,
            "location": "orders-prod",
            "level": "o",
            "kind": "cluster",
            "identifier": "orders-cluster",
            "database": "orders",
            "region": "eu-west-1",
            "bastion": "main",
            "port": 56789,
            "document": "location",
            "token": "modal",
        },
        "state": "live",
        "duration_seconds": 1800,
        "created_at": _INSTANT,
        "ends_at": "2026-11-20T12:45:00.000Z",
        "provision_by": "2026-11-20T12:15:00.000Z",
        "is_ordered": True,
        "delivered_at": None,
        "instance_id": None,
        "writer": None,
    },
}
"""As the first release wrote them."""


@dataclass
class Meddled:
    """A client during whose next calls of one method somebody else is a moment faster."""

    client: Any
    method: str
    act: Callable[[], object]
    times: int = 1

    def __getattr__(self, name: str) -> Any:
        if name == self.method and self.times:
            self.times -= 1
            self.act()
        return getattr(self.client, name)


@dataclass
class Stingy:
    """A client that hands out half of what a batch asks for."""

    client: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 -- DynamoDB's name for it
        ((table, asked),) = RequestItems.items()
        half = (len(asked["Keys"]) + 1) // 2
        now, later = ({table: asked | {"Keys": keys}} for keys in (asked["Keys"][:half], asked["Keys"][half:]))
        return self.client.batch_get_item(RequestItems=now) | {"UnprocessedKeys": later if later[table]["Keys"] else {}}


@dataclass
class Breaking:
    """A client that loses its connection at its n-th write, counted from 0."""

    client: Any
    broken_at: int
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        if name in {"put_item", "update_item", "transact_write_items"}:
            self.writes += 1
            if self.writes > self.broken_at:
                raise EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com/")
        return getattr(self.client, name)
