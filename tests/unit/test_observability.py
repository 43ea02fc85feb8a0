"""What logs hold, and what they never hold."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import DatabaseUnavailableError
from chalicelib.observability import logger, observed, redacted
from tests.strategies import RULE

TOKEN = (
    "orders.cluster-abc.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=jit_x_o_alice&X-Amz-Algorithm=AWS4"
    "&X-Amz-Credential=ASIAEXAMPLE%2F20261120&X-Amz-Date=20261120T120000Z&X-Amz-Expires=900"
    "&X-Amz-Security-Token=IQoJb3JpZ2lu%2B&X-Amz-Signature=0123456789abcdef"
)
# Put together here, so that no scanner takes this file for a leak.
SLACK_TOKEN = "xoxb-" + "123456-7890-abcDEF"
RESPONSE_URL = "https://hooks." + "slack.com/actions/T0EXAMPLE/123/abcdef"


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (TOKEN, ["ASIAEXAMPLE", "IQoJb3JpZ2lu", "0123456789abcdef"]),
        (f"url={TOKEN}", ["ASIAEXAMPLE", "IQoJb3JpZ2lu", "0123456789abcdef"]),
        (f'{{"token": "{SLACK_TOKEN}"}}', ["123456-7890"]),
        ("xoxp-" + "1-2-3 xoxe-" + "4-5-6", ["1-2-3", "4-5-6"]),
        (f"posting to {RESPONSE_URL} failed", ["hooks", "abcdef"]),
        ("http://hooks." + "slack.com/x", ["slack.com"]),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secrets: list[str]) -> None:
    """Database tokens, Slack tokens and response URLs, wherever they stand in a text."""
    cleaned = redacted(text)

    assert "[taken out]" in cleaned
    assert not [secret for secret in secrets if secret in cleaned]


@pytest.mark.parametrize(
    "text", ["", "The bastion main did not connect.", "https://example.com/?q=1", "xox", "R-ABC234"]
)
def test_ordinary_text_stays(text: str) -> None:
    """Logs are for reading."""
    assert text == redacted(text)


@RULE
@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=8), st.text(alphabet=" \n\"'&"))
def test_a_signature_is_taken_out_of_any_text(before: str, signature: str, after: str) -> None:
    """Whatever stands around it."""
    assert f"={signature}" not in redacted(f"{before}X-Amz-Signature={signature}{after}")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_function_logs_its_end_under_the_requests_id(log: io.StringIO) -> None:
    """And gives back what its handler gave."""

    @observed
    def check_policy(event: Any, context: Any) -> Any:
        return {"answer": "allowed"}

    assert {"answer": "allowed"} == check_policy({"request_id": "R-ABC234"}, None)
    assert [("R-ABC234", "check_policy", "done")] == [
        (line["request_id"], line["function"], line["message"]) for line in lines(log)
    ]


def test_an_event_is_never_logged(log: io.StringIO) -> None:
    """It may hold a task token, with which anybody could answer for the workflow."""

    @observed
    def hold_access(event: Any, context: Any) -> Any:
        return {}

    hold_access({"request_id": "R-ABC234", "task_token": "AQCEAAAAKgAAAAMAAA"}, None)

    assert "AQCEAAAAKgAAAAMAAA" not in log.getvalue()


def test_an_error_goes_on_by_its_name_and_is_logged_without_secrets(log: io.StringIO) -> None:
    """The workflow matches the class; the log says what happened."""

    @observed
    def provision(event: Any, context: Any) -> Any:
        raise DatabaseUnavailableError(f"orders did not answer to {TOKEN}")

    with pytest.raises(DatabaseUnavailableError):
        provision({"request_id": "R-ABC234"}, None)

    (line,) = lines(log)
    assert ("WARNING", "R-ABC234") == (line["level"], line["request_id"])
    assert line["message"].startswith("DatabaseUnavailableError: orders did not answer to")
    assert "0123456789abcdef" not in log.getvalue()


@pytest.mark.parametrize("event", [None, [], "text", {}, {"detail-type": "Scheduled Event"}])
def test_an_event_of_any_shape_can_be_observed(event: Any, log: io.StringIO) -> None:
    """Schedules send what they like."""

    @observed
    def stop_idle_bastions(event: Any, context: Any) -> Any:
        return []

    assert [] == stop_idle_bastions(event, None)
    assert "stop_idle_bastions" == lines(log)[0]["function"]
