"""The audit trail in DynamoDB and CloudWatch Logs: announced, written, confirmed, and what happens when one does not answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from chalicelib.aws.audit_trail import CloudWatchAuditLog, DynamoAuditTrail, read_entry, read_line
from chalicelib.aws.table import Table
from chalicelib.domain.audit import GIVING, AuditEvent, AuditLine, LineKind, verify_chain
from chalicelib.domain.errors import LedgerUnavailableError
from tests.adapters.test_ledger_contract import Meddled, new_table
from tests.factories import FRIDAY_NOON, REQUEST_ID, a_request, seconds

GROUP = "drawbridge-audit"
EVERYTHING_ELSE = sorted(set(AuditEvent) - GIVING)
_numbers = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    with mock_aws():
        yield


class Trail:
    """One trail, on a table and a log group of its own. ``clock`` is what the log's lines are stamped with."""

    def __init__(self) -> None:
        self.dynamo = boto3.client("dynamodb", region_name="eu-west-1")
        self.logs: Any = boto3.client("logs", region_name="eu-west-1")
        self.name, self.group = new_table(self.dynamo), f"{GROUP}-{next(_numbers)}"
        self.logs.create_log_group(logGroupName=self.group)
        self.reported: list[str] = []

    def writer(self, *, dynamo: Any = None, logs: Any = None, now: datetime | None = None) -> DynamoAuditTrail:
        log = CloudWatchAuditLog(logs or self.logs, self.group, lambda: now or datetime.now(tz=FRIDAY_NOON.tzinfo))
        return DynamoAuditTrail(Table(dynamo or self.dynamo, self.name), log, self.reported.append)

    def append(
        self, event: AuditEvent = AuditEvent.ASKED, /, *, to: DynamoAuditTrail | None = None, **facts: Any
    ) -> None:
        (to or self.writer()).append(REQUEST_ID, event, facts, at=FRIDAY_NOON)

    def events(self) -> list[str]:
        return [entry.content["event"] for entry in self.entries()]

    def entries(self) -> list[Any]:
        return [read_entry(item) for item in Table(self.dynamo, self.name).query(f"AUDIT#{REQUEST_ID}")]

    def lines(self) -> list[AuditLine]:
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.group)
        found = [read_line(event["message"]) for page in pages for event in page["events"]]
        assert None not in found
        return [line for line in found if line is not None]

    def faults(self) -> list[tuple[int, str]]:
        return [(finding.number, str(finding.fault)) for finding in verify_chain(self.entries(), self.lines())]


@pytest.fixture
def trail(aws: None) -> Trail:
    return Trail()


class Deaf:
    """A log that takes nothing, or nothing more after so many lines."""

    def __init__(self, logs: Any, *, after: int = 0, error: Exception | None = None) -> None:
        self._logs, self._left = logs, after
        self._error = error or EndpointConnectionError(endpoint_url="https://logs.example.com")

    def put_log_events(self, **given: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._logs.put_log_events(**given)

    def create_log_stream(self, **given: Any) -> Any:
        return self._logs.create_log_stream(**given)


class Counting:
    """A ledger that counts what is asked of it, and what it hands out at once."""

    def __init__(self, dynamo: Any) -> None:
        self._dynamo, self.queries, self.most_items = dynamo, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamo, name)

    def query(self, **given: Any) -> Any:
        answer = self._dynamo.query(**given)
        self.queries, self.most_items = self.queries + 1, max(self.most_items, len(answer["Items"]))
        return answer


class Dying:
    """A ledger whose caller dies when it writes: before the item stands, or right after."""

    def __init__(self, dynamo: Any, *, is_written: bool) -> None:
        self._dynamo, self._is_written = dynamo, is_written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamo, name)

    def put_item(self, **given: Any) -> Any:
        if self._is_written:
            self._dynamo.put_item(**given)
        raise KeyboardInterrupt


class TestWriting:
    def test_each_entry_is_announced_and_confirmed_in_the_log(self, trail: Trail) -> None:
        """By its place and hash alone: about 130 bytes a line."""
        trail.append(request=a_request())
        trail.append(AuditEvent.DECIDED, answer="yes")

        first, second = trail.entries()
        expected = [(entry.number, entry.hash, kind) for entry in (first, second) for kind in LineKind]
        assert expected == [(line.number, line.hash, line.kind) for line in trail.lines()]
        assert first.hash == second.content["previous"]
        assert [] == trail.faults()

    def test_the_lines_hold_nothing_but_places_and_hashes(self, trail: Trail) -> None:
        """Whoever may read the log learns of nobody."""
        trail.append(request=a_request())

        events = trail.logs.filter_log_events(logGroupName=trail.group)["events"]
        assert [{"trail", "number", "hash", "is"}] * 2 == [set(json.loads(event["message"])) for event in events]
        assert all(len(event["message"]) < 150 for event in events)

    def test_a_day_has_one_stream(self, trail: Trail) -> None:
        """Made by whoever comes first; the others find it made."""
        now = datetime.now(tz=FRIDAY_NOON.tzinfo)
        for number in range(3):
            trail.append(to=trail.writer(now=now + seconds(number)), number=number)

        streams = trail.logs.describe_log_streams(logGroupName=trail.group)["logStreams"]
        assert [f"{now:%Y-%m-%d}"] == [stream["logStreamName"] for stream in streams]

    def test_a_stream_that_somebody_else_makes_at_the_same_moment_is_used(self, trail: Trail) -> None:
        """Two functions wrote the first line of the day."""
        stream = f"{datetime.now(tz=FRIDAY_NOON.tzinfo):%Y-%m-%d}"
        logs = Meddled(
            trail.logs,
            "create_log_stream",
            lambda: trail.logs.create_log_stream(logGroupName=trail.group, logStreamName=stream),
        )
        trail.append(to=trail.writer(logs=logs))

        assert (1, 2) == (len(trail.entries()), len(trail.lines()))

    def test_the_same_happening_told_again_is_one_entry(self, trail: Trail) -> None:
        """A step was repeated, a minute later; another one of the same kind is another entry."""
        for view in ("V1", "V1", "V2", "V1"):
            trail.append(AuditEvent.TOKEN_MADE, view=view)

        assert ["V1", "V2"] == [entry.content["facts"]["view"] for entry in trail.entries()]
        assert [] == trail.faults()

    def test_a_long_trail_is_read_no_further_than_a_page(self, trail: Trail) -> None:
        """An entry costs the same at the end of a long life as at its beginning."""
        counting = Counting(trail.dynamo)
        writer = trail.writer(dynamo=counting)
        for number in range(30):
            trail.append(AuditEvent.TOKEN_MADE, to=writer, number=number)

        assert (30, 25, 30) == (counting.queries, counting.most_items, len(trail.entries()))

    def test_whoever_was_slower_takes_the_next_place(self, trail: Trail) -> None:
        """And chains to what was written meanwhile; the announcement of the lost place does no harm."""
        meddled = Meddled(trail.dynamo, "put_item", lambda: trail.append(who="faster"))
        trail.append(to=trail.writer(dynamo=meddled), who="slower")

        assert ["faster", "slower"] == [entry.content["facts"]["who"] for entry in trail.entries()]
        assert (5, []) == (len(trail.lines()), trail.faults())

    def test_a_trail_that_others_keep_writing_is_given_up_in_the_end(self, trail: Trail) -> None:
        """It is said and not swallowed that an entry is missing."""
        others = count()
        hectic = Meddled(trail.dynamo, "put_item", lambda: trail.append(other=next(others)), times=99)

        with pytest.raises(LedgerUnavailableError, match="'decided' of R-ABC234"):
            trail.append(AuditEvent.DECIDED, to=trail.writer(dynamo=hectic))

    def test_an_entry_of_an_earlier_release_is_continued(self, trail: Trail) -> None:
        """It has a hash and no line: verifying says so, and the chain goes on."""
        trail.append(first=True)
        trail.logs.delete_log_group(logGroupName=trail.group)
        trail.logs.create_log_group(logGroupName=trail.group)
        trail.append(second=True)

        assert [(1, "unknown")] == trail.faults()


class TestBreakingOff:
    def test_a_function_that_dies_before_it_writes_leaves_a_doubt(self, trail: Trail) -> None:
        """And the next entry takes the place, which settles it."""
        trail.append(first=True)
        with pytest.raises(KeyboardInterrupt):
            trail.append(to=trail.writer(dynamo=Dying(trail.dynamo, is_written=False)), second=True)
        left = trail.faults()
        trail.append(third=True)

        assert [(2, "never written")] == left
        assert ([], 2) == (trail.faults(), len(trail.entries()))

    def test_a_function_that_dies_after_it_wrote_leaves_a_whole_trail(self, trail: Trail) -> None:
        """The repeated step finds its entry and confirms it."""
        with pytest.raises(KeyboardInterrupt):
            trail.append(to=trail.writer(dynamo=Dying(trail.dynamo, is_written=True)), first=True)
        left = trail.faults()
        trail.append(first=True)

        assert ([], []) == (left, trail.faults())
        assert [LineKind.ANNOUNCED, LineKind.WRITTEN] == [line.kind for line in trail.lines()]

    def test_an_answer_that_was_lost_makes_no_second_entry(self, trail: Trail) -> None:
        """DynamoDB took the entry, and the client that tries again is told that it stands."""
        lost = Meddled(trail.dynamo, "put_item", lambda: trail.append(who="me"))
        trail.append(to=trail.writer(dynamo=lost), who="me")

        assert (1, []) == (len(trail.entries()), trail.faults())


class TestALogThatDoesNotAnswer:
    @pytest.mark.parametrize("event", sorted(GIVING))
    def test_what_leads_to_access_fails_and_writes_nothing(self, trail: Trail, event: AuditEvent) -> None:
        """Access that cannot be audited is not given; the workflow tries again."""
        with pytest.raises(LedgerUnavailableError, match="audit log"):
            trail.append(event, to=trail.writer(logs=Deaf(trail.logs)))

        assert [] == trail.entries()

    @pytest.mark.parametrize("event", EVERYTHING_ELSE)
    def test_an_end_goes_on_and_says_that_nobody_announced_it(self, trail: Trail, event: AuditEvent) -> None:
        """The function's log has the hash, to compare."""
        trail.append(first=True)
        trail.append(event, to=trail.writer(logs=Deaf(trail.logs)))

        assert [(2, "unannounced")] == trail.faults()
        (report,) = trail.reported
        assert report.startswith(f"audit line not written: {REQUEST_ID} 2 {trail.entries()[1].hash}")

    def test_an_unannounced_end_that_is_told_again_becomes_known(self, trail: Trail) -> None:
        """The log answers by then."""
        trail.append(first=True)
        trail.append(AuditEvent.ENDING, to=trail.writer(logs=Deaf(trail.logs)))
        trail.append(AuditEvent.ENDING)

        assert (2, []) == (len(trail.entries()), trail.faults())

    def test_a_confirmation_that_is_lost_stops_nobody(self, trail: Trail) -> None:
        """The entry is announced and stands."""
        now = datetime.now(tz=FRIDAY_NOON.tzinfo)
        trail.append(first=True)
        trail.append(AuditEvent.GRANTED, to=trail.writer(logs=Deaf(trail.logs, after=1), now=now))

        assert (["asked", "granted"], [], 1) == (trail.events(), trail.faults(), len(trail.reported))

    def test_a_line_that_the_log_sorts_out_is_not_taken(self, trail: Trail) -> None:
        """CloudWatch answers well and drops what is two weeks old: a clock that is wrong must not look like success."""
        with pytest.raises(LedgerUnavailableError, match="clock"):
            trail.append(to=trail.writer(now=FRIDAY_NOON.replace(year=2020)))

        assert [] == trail.entries()

    @pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailableException", "AccessDeniedException"])
    def test_what_aws_refuses_is_named_by_its_code(self, trail: Trail, code: str) -> None:
        """And by nothing more: its texts name ARNs."""
        refusal = ClientError({"Error": {"Code": code, "Message": "arn:aws:logs:…"}}, "PutLogEvents")
        with pytest.raises(LedgerUnavailableError, match=code) as caught:
            trail.append(to=trail.writer(logs=Deaf(trail.logs, error=refusal)))

        assert "arn:" not in str(caught.value)

    def test_a_log_group_that_is_not_there_is_named(self, trail: Trail) -> None:
        """As after a deployment that was taken away by halves."""
        trail.logs.delete_log_group(logGroupName=trail.group)

        with pytest.raises(LedgerUnavailableError, match="ResourceNotFoundException"):
            trail.append()


class TestReading:
    @pytest.mark.parametrize(
        ("sk", "number"),
        [("000001", 1), ("000123", 123), ("1", 0), ("0000001", 0), ("٠٠٠٠٠١", 0), ("REQUEST", 0), ("-00001", 0)],
    )
    def test_only_a_sort_key_that_we_wrote_is_a_place(self, sk: str, number: int) -> None:
        """Others that read as the same number would stand beside the entry."""
        assert number == read_entry({"pk": "AUDIT#R-ABC234", "sk": sk}).number

    def test_whatever_else_an_item_holds_is_part_of_what_it_says(self) -> None:
        """So an attribute that somebody added breaks the hash."""
        entry = read_entry({"pk": "AUDIT#R-ABC234", "sk": "000001", "hash": "h", "event": "asked", "more": 1})

        assert ("R-ABC234", "h", {"event": "asked", "more": 1}) == (entry.trail, entry.hash, entry.content)

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "text",
            "[]",
            "null",
            "{}",
            '{"trail":"R","number":1,"hash":"h"}',
            '{"trail":"R","number":"1","hash":"h","is":"written"}',
            '{"trail":"R","number":true,"hash":"h","is":"written"}',
            '{"trail":"R","number":0,"hash":"h","is":"written"}',
            '{"trail":1,"number":1,"hash":"h","is":"written"}',
            '{"trail":"R","number":1,"hash":"h","is":"deleted"}',
        ],
    )
    def test_a_line_of_somebody_else_is_none(self, message: str) -> None:
        """Anybody who may append may have written anything."""
        assert read_line(message) is None

    def test_a_line_is_read_as_it_was_written(self) -> None:
        """Place, hash and kind."""
        read = read_line('{"trail":"bastion i-1","number":12,"hash":"h","is":"announced"}')

        assert read == AuditLine(trail="bastion i-1", number=12, hash="h", kind=LineKind.ANNOUNCED)
        assert read == replace(read, is_settled=False)
