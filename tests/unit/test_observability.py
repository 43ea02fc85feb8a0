"""What logs hold, and what they never hold."""

import ast
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import DatabaseUnavailableError
from chalicelib.observability import logger, observed, redacted, redacted_values
from tests.strategies import RULE

TOKEN = (
    "orders.cluster-abc.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=jit_x_o_alice&X-Amz-Algorithm=AWS4"
    "&X-Amz-Credential=ASIAEXAMPLE%2F20261120&X-Amz-Date=20261120T120000Z&X-Amz-Expires=900"
    "&X-Amz-Security-Token=IQoJb3JpZ2lu%2B&X-Amz-Signature=0123456789abcdef"
)
FUNCTIONS = Path(__file__).parents[2] / "chalicelib" / "functions"
DEPLOYING = ("blueprint.lambda_function", "blueprint.schedule")
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
    assert ("WARNING", "R-ABC234", "failed") == (line["level"], line["request_id"], line["message"])
    assert ("DatabaseUnavailableError", True) == (line["error"], line["reason"].startswith("orders did not answer to"))
    assert "0123456789abcdef" not in log.getvalue()


@pytest.mark.parametrize("event", [None, [], "text", {}, {"detail-type": "Scheduled Event"}])
def test_an_event_of_any_shape_can_be_observed(event: Any, log: io.StringIO) -> None:
    """Schedules send what they like."""

    @observed
    def stop_idle_bastions(event: Any, context: Any) -> Any:
        return []

    assert [] == stop_idle_bastions(event, None)
    assert "stop_idle_bastions" == lines(log)[0]["function"]


def test_an_error_that_nobody_foresaw_keeps_its_name_and_its_text_to_the_log(log: io.StringIO) -> None:
    """The runtime would log its text as it is, and the workflow would keep it for anybody who may read executions."""

    @observed
    def provision(event: Any, context: Any) -> Any:
        raise KeyError(f"password=hunter2-hunter2 {TOKEN}")

    with pytest.raises(Exception, match="provision broke; its log says where, under R-ABC234") as caught:
        provision({"request_id": "R-ABC234"}, None)

    (line,) = lines(log)
    assert ("KeyError", None, True) == (
        type(caught.value).__name__,
        caught.value.__cause__,
        caught.value.__suppress_context__,
    )
    assert ("ERROR", "broke", "KeyError") == (line["level"], line["message"], line["error"])
    assert "in provision" in line["stack"]
    assert "hunter2" not in log.getvalue() + str(caught.value)


def test_every_line_names_the_execution_and_the_invocation(log: io.StringIO) -> None:
    """A request has several executions, and Lambda's own lines know only invocations."""

    @observed
    def revoke_access(event: Any, context: Any) -> Any:
        logger.warning("in between")
        return {}

    revoke_access({"request_id": "R-ABC234", "execution": "R-ABC234-revoke-2"}, Invocation())

    assert [("R-ABC234-revoke-2", "11-22", "in between"), ("R-ABC234-revoke-2", "11-22", "done")] == [
        (line["execution"], line["invocation"], line["message"]) for line in lines(log)
    ]


def test_nothing_of_the_request_before_stays(log: io.StringIO) -> None:
    """A function's instance serves one after the other."""

    @observed
    def reconcile_grants(event: Any, context: Any) -> Any:
        return []

    reconcile_grants({"request_id": "R-ABC234", "execution": "R-ABC234"}, Invocation())
    reconcile_grants({}, None)

    assert ("", "", "") == tuple(lines(log)[1][name] for name in ("request_id", "execution", "invocation"))


class Invocation:
    """What Lambda tells of an invocation."""

    aws_request_id = "11-22"


_SURROUNDINGS = st.text(alphabet=" .,;:=?&'\"{}()[]/\n", max_size=12)
_SECRETS = st.text(alphabet="bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ0123456789", min_size=12, max_size=40)
"""Without vowels none has six letters in a row with a word that may stand beside it, such as response_url."""
_SHAPES: dict[str, Callable[[str], tuple[str, str]]] = {
    "a database token": lambda x: (f"db:5432/?Action=connect&X-Amz-Signature={x}&X-Amz-Date=1", x),
    "a database token that is encoded once more": lambda x: (f"url=X-Amz-Signature%3D{x}&x", x),
    "a session token": lambda x: (f"X-Amz-Security-Token={x}", x),
    "a bot token": lambda x: ("xox" + f"b-123-{x}", x),
    "a rotating bot token": lambda x: ("xoxe.xox" + f"b-1-{x}", x),
    "an app token": lambda x: ("xapp" + f"-1-{x}", x),
    "a response URL": lambda x: ("https://hooks." + f"slack.com/commands/T0EXAMPLE/1/{x}", x),
    "the password of a DSN": lambda x: (f"postgresql://alice:{x}@db.example.com:5432/orders", x),
    "a password with an at sign": lambda x: (f"postgresql://alice:p@{x}@db.example.com/orders", x),
    "a setting": lambda x: (f"host=db password={x} dbname=orders", x),
    "a quoted setting": lambda x: (f"host=db password='it\\'s {x} ' dbname=orders", x),
    "JSON": lambda x: (json.dumps({"signing_secret": x, "more": 1}), x),
    "JSON in JSON": lambda x: (json.dumps({"body": json.dumps({"response_url": x})}), x),
    "a dictionary": lambda x: (repr({"bot_token": x}), x),
    "a dataclass": lambda x: (f"SlackSecrets(signing_secret='{x}', app_id='A0')", x),
    "a header": lambda x: (f"Authorization: Bearer {x}", x),
    "a form": lambda x: (f"token={x}&team_id=T0EXAMPLE&response_url={x}", x),
    "an access key": lambda x: ("AKIA" + x.upper().ljust(16, "0"), x.upper()),
    "a signature of Slack": lambda x: (f"v0={x.encode().hex()}", x.encode().hex()),
    "a signing secret": lambda x: (f"{x.encode().hex():032.32}", x.encode().hex()[:24]),
}
"""A text that holds a secret, and what of it must not be read."""


def leaks(text: str, secret: str) -> list[str]:
    """Every six characters in a row of the secret that the text still holds."""
    return [part for part in (secret[at : at + 6] for at in range(len(secret) - 5)) if part in text]


@pytest.mark.parametrize("shape", _SHAPES.values(), ids=_SHAPES)
@RULE
@given(secret=_SECRETS, before=_SURROUNDINGS, after=_SURROUNDINGS)
def test_no_six_characters_of_a_secret_survive(
    shape: Callable[[str], tuple[str, str]], secret: str, before: str, after: str
) -> None:
    """Whatever stands around it, in a text and in a structure."""
    text, hidden = shape(secret)

    assert [] == leaks(redacted(f"{before} {text} {after}"), hidden)
    assert [] == leaks(json.dumps(redacted_values({"a": [{"b": text}]})), hidden)


@RULE
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"\\"), min_size=8))
def test_a_password_of_any_letters_is_taken_out_of_settings(password: str) -> None:
    """Those that need no quotes in a conninfo string or a shell line."""
    assert [] == leaks(redacted(f"host=db password={password} dbname=orders PGPASSWORD={password} psql"), password)


@pytest.mark.parametrize(
    "name", ["password", "PGPASSWORD", "token", "bot_token", "taskToken", "response_url", "secret"]
)
@RULE
@given(secret=st.text(min_size=6))
def test_what_is_called_a_secret_is_taken_out_whatever_it_is(name: str, secret: str) -> None:
    """In a structure its name is enough."""
    line = redacted_values({"extra": {name: secret, f"slack_{name}": [secret], "kept": 1}})

    assert {"extra": {name: "[taken out]", f"slack_{name}": "[taken out]", "kept": 1}} == line


def test_every_line_is_cleaned_whoever_writes_it(log: io.StringIO) -> None:
    """Its text, what is added to it, the stack of an exception, and what is no JSON."""
    try:
        int(f"password=hunter2-hunter2 {SLACK_TOKEN}")
    except ValueError:
        logger.exception("at %s", RESPONSE_URL, extra={"token": TOKEN, "seen": [{TOKEN}], "at": object()})

    (line,) = lines(log)
    planted = ("hunter2", "123456-7890", "actions/T0EXAMPLE", "ASIAEXAMPLE", "IQoJb3JpZ2lu", "0123456789abcdef")
    assert [] == [part for part in planted if part in log.getvalue()]
    assert ("[taken out]", "ValueError") == (line["token"], line["exception_name"])


@pytest.mark.parametrize(
    "text",
    [
        "audit line not written: R-ABC234 2 " + "0123456789abcdef" * 4,
        "token made",
        "The grant of R-ABC234 ended. Ask again with /db-access.",
        "postgresql://db.example.com:5432/orders",
        "R-ABC234-revoke-2",
    ],
)
def test_what_operators_look_for_stays(text: str) -> None:
    """An entry's hash is no secret."""
    assert text == redacted(text)


@pytest.mark.parametrize("file", sorted(FUNCTIONS.glob("*.py")), ids=lambda file: file.stem)
def test_every_deployed_function_is_observed(file: Path) -> None:
    """A function that logs under no request cannot be looked up. The endpoint has no event of ours."""
    handlers = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).startswith(DEPLOYING) for each in node.decorator_list)
    ]

    assert [] == [node.name for node in handlers if ast.unparse(node.decorator_list[-1]) != "observed"]
