"""Whose access key signs a call: each function's its own, though all of them share a process. Judges nothing itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
from botocore.credentials import Credentials as SigningCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.session import get_session

from chalicelib.domain.roles import PERSON_PREFIX, PROVISIONER
from local.aws_calls import AwsCall
from local.iam_proxy import Credentials
from local.lambdas import RUNNING

WORKSPACE_KEY, SECRET = "AKIAWORKSPACE0000000", "local-function-secret"
_FUNCTION_KEY = "AKIAFUNCTION"


def access_key_of(function: str) -> str:
    """The key of a function by its logical id, which may follow the stack's name; without a function, the workspace's own."""
    return _FUNCTION_KEY + function.rpartition("-")[2] if function else WORKSPACE_KEY


def function_of(access_key_id: str) -> str | None:
    """The logical id of the function whose key this is."""
    return access_key_id.removeprefix(_FUNCTION_KEY) if access_key_id.startswith(_FUNCTION_KEY) else None


def find_credentials(access_key_id: str, authorize: Callable[[AwsCall], str | None] | None) -> Credentials | None:
    """What the door of the databases knows of a function's key: it may connect as our users, where ``authorize`` agrees."""
    if function_of(access_key_id) is None:
        return None

    def may_connect(user: str) -> bool:
        call = AwsCall(access_key_id=access_key_id, service="rds-db", operation="connect", parameters={"DBUser": user})
        is_ours = user == PROVISIONER or user.startswith(PERSON_PREFIX)
        return is_ours and (authorize is None or authorize(call) is None)

    return Credentials(secret_access_key=SECRET, session_token=None, may_connect=may_connect)


@contextmanager
def own_credentials() -> Iterator[None]:
    """Have boto3's clients sign each call with the key of the function that makes it, and all others with the workspace's."""
    session, before = get_session(), boto3.DEFAULT_SESSION
    session.register_component("credential_provider", _Credentials(WORKSPACE_KEY, SECRET))
    boto3.setup_default_session(botocore_session=session)
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before


class _Credentials(SigningCredentials):
    """botocore asks for these at each signature."""

    def load_credentials(self) -> SigningCredentials:
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(access_key_of(RUNNING.get()), SECRET, None)
