"""`audit verify` and `audit export`, on a ledger and a log with which somebody has tampered."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from chalicelib.aws.audit_trail import CloudWatchAuditLog, DynamoAuditTrail
from chalicelib.aws.clients import client as shared_client
from chalicelib.aws.table import Table
from chalicelib.domain.audit import AuditEvent
from deployment.__main__ import main
from deployment.audit import add_arguments, export, verify
from tests.adapters.test_ledger_contract import new_table

REGION = "eu-west-1"
FIRST, SECOND = "R-ABC234", "R-DEF567"
_numbers = count()


@pytest.fixture(scope="module", autouse=True)
def aws() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_DEFAULT_REGION", REGION)
    shared_client.cache_clear()
    with mock_aws():
        yield
    shared_client.cache_clear()
    patch.undo()


@dataclass(kw_only=True)
class Books:
    """A ledger and a log with two trails of three entries, written ten minutes ago."""

    dynamo: Any = field(default_factory=lambda: boto3.client("dynamodb"))
    logs: Any = field(default_factory=lambda: boto3.client("logs"))
    table: str = ""
    group: str = field(default_factory=lambda: f"audit-{next(_numbers)}")
    written_at: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=10))

    def __post_init__(self) -> None:
        self.table = new_table(self.dynamo)
        self.logs.create_log_group(logGroupName=self.group)
        for trail in (FIRST, SECOND):
            for event in (AuditEvent.ASKED, AuditEvent.GRANTED, AuditEvent.ENDED):
                self.append(trail, event)

    def append(self, trail: str, event: AuditEvent, *, at: datetime | None = None, **facts: Any) -> None:
        at = at or self.written_at
        log = CloudWatchAuditLog(self.logs, self.group, lambda: at)
        DynamoAuditTrail(Table(self.dynamo, self.table), log, print).append(trail, event, facts, at=at)

    def key(self, trail: str, number: int) -> dict[str, Any]:
        return {"pk": {"S": f"AUDIT#{trail}"}, "sk": {"S": f"{number:06d}"}}

    def item(self, trail: str, number: int) -> dict[str, Any]:
        item: dict[str, Any] = self.dynamo.get_item(TableName=self.table, Key=self.key(trail, number))["Item"]
        return item

    def put(self, trail: str, number: int, item: dict[str, Any], **changes: Any) -> None:
        self.dynamo.put_item(TableName=self.table, Item=item | changes | self.key(trail, number))

    def delete(self, trail: str, *numbers: int) -> None:
        for number in numbers:
            self.dynamo.delete_item(TableName=self.table, Key=self.key(trail, number))

    def say(self, message: str) -> None:
        """Somebody appends a line to the log."""
        at = int(self.written_at.timestamp() * 1000)
        stream = f"{self.written_at:%Y-%m-%d}"
        event = {"timestamp": at, "message": message}
        self.logs.put_log_events(logGroupName=self.group, logStreamName=stream, logEvents=[event])

    def given(self, *arguments: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return parser.parse_args(["--table", self.table, "--log-group", self.group, *arguments])


@pytest.fixture
def books() -> Books:
    return Books()


def swap(books: Books) -> None:
    second, third = books.item(SECOND, 2), books.item(SECOND, 3)
    books.put(SECOND, 2, third)
    books.put(SECOND, 3, second)


TAMPERING: dict[str, tuple[Callable[[Books], object], int, str]] = {
    "a changed fact": (
        lambda books: books.put(SECOND, 2, books.item(SECOND, 2), facts={"M": {"level": {"S": "w"}}}),
        2,
        "changed",
    ),
    "a changed time": (lambda books: books.put(SECOND, 1, books.item(SECOND, 1), at={"S": "2020-01-01"}), 1, "changed"),
    "a number where there was none": (
        lambda books: books.put(SECOND, 3, books.item(SECOND, 3), facts={"N": "1.5"}),
        3,
        "changed",
    ),
    "an added attribute": (lambda books: books.put(SECOND, 2, books.item(SECOND, 2), note={"S": "x"}), 2, "changed"),
    "bytes": (lambda books: books.put(SECOND, 2, books.item(SECOND, 2), event={"B": b"asked"}), 2, "changed"),
    "a hash that is gone": (
        lambda books: books.put(SECOND, 2, books.item(SECOND, 2), hash={"NULL": True}),
        2,
        "changed",
    ),
    "a deleted entry": (lambda books: books.delete(SECOND, 2), 2, "missing"),
    "a deleted beginning": (lambda books: books.delete(SECOND, 1), 1, "missing"),
    "a cut trail": (lambda books: books.delete(SECOND, 3), 3, "missing"),
    "a trail that is gone": (lambda books: books.delete(SECOND, 1, 2, 3), 1, "missing"),
    "entries that changed places": (swap, 2, "changed"),
    "a copied entry": (lambda books: books.put(SECOND, 4, books.item(SECOND, 3)), 4, "changed"),
    "an entry of another trail": (lambda books: books.put(SECOND, 4, books.item(FIRST, 3)), 4, "changed"),
    "an item that is no entry": (
        lambda books: books.dynamo.put_item(TableName=books.table, Item=books.item(SECOND, 1) | {"sk": {"S": "1"}}),
        0,
        "unknown",
    ),
    "a line without an entry": (
        lambda books: books.say(json.dumps({"trail": SECOND, "number": 4, "hash": "h", "is": "written"})),
        4,
        "missing",
    ),
}


class TestVerifying:
    def test_a_trail_that_nobody_touched_is_clean(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """Status 0, with how much was looked at."""
        status = verify(books.given())

        assert (0, "6 entries in 2 trails, 12 lines of the log: 0 trails with something wrong, 0 doubts.\n") == (
            status,
            capsys.readouterr().out,
        )

    @pytest.mark.parametrize(("tamper", "number", "fault"), TAMPERING.values(), ids=TAMPERING)
    def test_tampering_names_the_first_bad_entry(
        self,
        books: Books,
        tamper: Callable[[Books], object],
        number: int,
        fault: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Status 1, and the other trail is left in peace."""
        tamper(books)
        status = verify(books.given())

        first, *_, summary = capsys.readouterr().out.splitlines()
        assert 1 == status
        assert first.startswith(f"{SECOND}, entry {number}: {fault}: ")
        assert ": 1 trails with something wrong, " in summary

    def test_a_trail_is_named_once_with_how_much_more_there_is(
        self, books: Books, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The first bad entry is what to look at."""
        for number in (1, 2, 3):
            books.put(SECOND, number, books.item(SECOND, number), at={"S": "never"})
        verify(books.given())

        first, summary = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{SECOND}, entry 1: changed")
        assert first.endswith("(2 more in this trail)")
        assert "1 trails with something wrong" in summary

    @pytest.mark.parametrize(
        "message",
        ["somebody's text", json.dumps({"trail": SECOND, "number": 4, "hash": "h", "is": "announced"})],
        ids=["a line of somebody else", "announced and never written"],
    )
    def test_a_doubt_is_told_and_is_no_finding(
        self, books: Books, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It may come about by itself."""
        books.say(message)
        status = verify(books.given())

        doubt, summary = capsys.readouterr().out.splitlines()
        assert (0, True, True) == (status, doubt.startswith("doubt: "), summary.endswith(", 1 doubts."))

    def test_what_is_being_written_meanwhile_is_no_finding(
        self, books: Books, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A line of the last minute may be ahead of its entry, as one reads."""
        books.append(SECOND, AuditEvent.RECEIPT, at=datetime.now(UTC))
        books.delete(SECOND, 4)

        assert 0 == verify(books.given())

    def test_one_request_can_be_asked_for(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """Only its entries and lines are read, not those of a trail that merely names it."""
        books.delete(SECOND, 2)
        books.say(json.dumps({"trail": f"{FIRST} too", "number": 1, "hash": "h", "is": "written"}))

        assert (0, 1) == (verify(books.given("--request", FIRST)), verify(books.given("--request", SECOND)))
        assert capsys.readouterr().out.startswith("3 entries in 1 trails, 6 lines of the log: 0 trails")

    def test_older_trails_can_be_left_out(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """Those that began before the day, though they go on after it."""
        books.delete(SECOND, 2)
        tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"

        assert (0, 1) == (verify(books.given("--since", tomorrow)), verify(books.given("--since", "2026-01-01")))

    def test_a_trail_that_began_in_time_is_looked_at_whatever_its_entries_say(
        self, books: Books, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The log knows when it began."""
        books.put(SECOND, 1, books.item(SECOND, 1), at={"S": "2001-01-01T00:00:00.000Z"})

        assert 1 == verify(books.given("--since", "2026-01-01"))
        assert capsys.readouterr().out.startswith(f"{SECOND}, entry 1: changed")

    def test_every_page_is_read(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """Both DynamoDB and CloudWatch hand out at most a megabyte at a time."""
        for number in range(4):
            books.append("R-GHJ234", AuditEvent.RECEIPT, number=number, padding="x" * 300_000)
        books.delete("R-GHJ234", 2)
        status = verify(books.given())

        assert (1, True) == (status, capsys.readouterr().out.startswith("R-GHJ234, entry 2: missing"))


class TestExporting:
    def test_every_entry_is_a_line_of_json_in_a_stable_order(
        self, books: Books, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By trail and number, with its fields in theirs."""
        status = export(books.given())

        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert 0 == status
        assert [(trail, number) for trail in (FIRST, SECOND) for number in (1, 2, 3)] == [
            (row["trail"], row["number"]) for row in rows
        ]
        assert ["trail", "number", "at", "event", "facts", "previous", "hash"] == list(rows[0])
        assert ("asked", "", rows[0]["hash"]) == (rows[0]["event"], rows[0]["previous"], rows[1]["previous"])

    def test_one_request_can_be_exported(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """For whoever asks about it."""
        export(books.given("--request", SECOND))

        assert {SECOND} == {json.loads(line)["trail"] for line in capsys.readouterr().out.splitlines()}

    def test_older_trails_can_be_left_out(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """By when their first entry says that it happened."""
        books.append("R-GHJ234", AuditEvent.ASKED, at=datetime.now(UTC) + timedelta(minutes=1))
        export(books.given("--since", datetime.now(UTC).isoformat()))

        assert {"R-GHJ234"} == {json.loads(line)["trail"] for line in capsys.readouterr().out.splitlines()}

    def test_what_it_cost_is_said_apart(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """On standard error, so that a pipe holds entries alone."""
        export(books.given())

        assert "read units of DynamoDB, about $0.0000." in capsys.readouterr().err


class TestWhatCannotBeLookedAt:
    @pytest.mark.parametrize("verb", [verify, export])
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--table", "no-such-table"], "The ledger no-such-table could not be read (AWS said ResourceNotFound"),
            (["--since", "yesterday"], "'yesterday' is no day. Write it like 2026-11-01."),
        ],
    )
    def test_it_is_one_sentence_with_status_2(
        self,
        books: Books,
        verb: Callable[[argparse.Namespace], int],
        arguments: list[str],
        sentence: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """So that a script does not take it for a clean trail."""
        status = verb(books.given(*arguments))

        printed = capsys.readouterr()
        assert (2, "") == (status, printed.out)
        assert sentence in printed.err

    def test_a_log_that_is_gone_is_no_clean_trail(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """Whoever deletes the log has deleted the proof."""
        books.logs.delete_log_group(logGroupName=books.group)

        assert 2 == verify(books.given())
        assert f"The audit log {books.group} could not be read" in capsys.readouterr().err

    def test_the_stack_says_where_ledger_and_log_are(self, books: Books, capsys: pytest.CaptureFixture[str]) -> None:
        """By their logical ids."""
        with Stubber(shared_client("cloudformation")) as stub:
            for logical_id, name in (("Ledger", books.table), ("AuditLog", books.group)):
                detail = {
                    "LogicalResourceId": logical_id,
                    "PhysicalResourceId": name,
                    "ResourceType": "AWS::Any::Type",
                    "LastUpdatedTimestamp": books.written_at,
                    "ResourceStatus": "CREATE_COMPLETE",
                }
                asked = {"StackName": "drawbridge-example", "LogicalResourceId": logical_id}
                stub.add_response("describe_stack_resource", {"StackResourceDetail": detail}, asked)

            assert 0 == main(["audit", "verify", "--stage", "example"])
        assert "6 entries in 2 trails, 12 lines" in capsys.readouterr().out

    @pytest.mark.parametrize("verb", [verify, export])
    def test_a_stack_that_is_not_there_is_named(
        self, books: Books, verb: Callable[[argparse.Namespace], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A mistyped stage is no clean trail."""
        with Stubber(shared_client("cloudformation")) as stub:
            stub.add_client_error("describe_stack_resource", "ValidationError", "Stack does not exist")

            assert 2 == verb(books.given("--table", "", "--stage", "prdo"))
        assert "The stack drawbridge-prdo could not be asked for its Ledger" in capsys.readouterr().err
