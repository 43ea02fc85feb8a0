"""Tokens as the database takes them, no older than they may be."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import boto3
import botocore.session
import pytest
from botocore.credentials import CredentialResolver

from drawbridge.errors import CredentialsError
from drawbridge.tokens import RenewedToken, make_token
from local.iam_proxy import Credentials, check_token
from tests.drawbridge_network.world import HOST, KEY, REGION, SECRET, USER, a_connection

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_a_token_is_good_for_exactly_this_database_and_user() -> None:
    """By the rules of RDS, whatever region the profile has."""
    session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-2")
    good = Credentials(secret_access_key=SECRET, session_token=None, may_connect=lambda user: user == USER)
    token = make_token(session, a_connection(port=6432))

    assert None is check_token(
        token,
        endpoints={f"{HOST}:6432"},
        user=USER,
        region=REGION,
        now=datetime.now(UTC),
        find_credentials={KEY: good}.get,
    )


def test_no_credentials_are_said() -> None:
    """With what to do."""
    core = botocore.session.Session()
    core.register_component("credential_provider", CredentialResolver([]))

    with pytest.raises(CredentialsError, match="aws sso login --profile default"):
        make_token(boto3.Session(botocore_session=core), a_connection())


@pytest.mark.parametrize(
    ("minutes", "made"), [([0, 1, 9.99], 1), ([0, 10], 2), ([0, 10, 19.9, 20], 3), ([0, -1], 2), ([0, 600], 2)]
)
def test_a_token_is_kept_while_it_is_fresh(minutes: list[float], made: int) -> None:
    """Ten minutes; a clock that was set back proves nothing."""
    now, tokens = NOW, iter(range(10))
    token = RenewedToken(lambda: str(next(tokens)), lambda: now)
    given = []
    for minute in minutes:
        now = NOW + timedelta(minutes=minute)
        given.append(token())

    assert [str(number) for number in range(made)] == sorted(set(given))


def test_a_forgotten_token_is_made_anew() -> None:
    """After a refusal."""
    tokens = iter("ab")
    token = RenewedToken(lambda: next(tokens), lambda: NOW)
    first = token()
    token.forget()

    assert ("a", "b", "b") == (first, token(), token())


def test_a_failure_is_not_kept() -> None:
    """Whoever signed in again meanwhile gets a token."""
    answers = iter([CredentialsError("Sign in."), "token"])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    token = RenewedToken(make, lambda: NOW)
    with pytest.raises(CredentialsError):
        token()

    assert "token" == token()


def test_many_who_need_a_token_at_once_have_one_made() -> None:
    """Renewing credentials may open a browser: not eight."""
    made, barrier = [], threading.Barrier(8)
    token = RenewedToken(lambda: made.append(1) or "token", lambda: NOW)  # type: ignore[func-returns-value]

    def need(_: int) -> str:
        barrier.wait(10)
        return token()

    with ThreadPoolExecutor(8) as people:
        assert ["token"] * 8 == list(people.map(need, range(8)))
    assert [1] == made
