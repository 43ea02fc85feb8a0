"""Whose access key signs a call: each function's its own, though all share a process; and sessions of roles, as STS made them."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import boto3
from botocore.credentials import Credentials as SigningCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.session import get_session
from moto.sts.models import sts_backends

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import PERSON_PREFIX, PROVISIONER, person_role
from local import seed
from local.aws_calls import AwsCall
from local.iam_proxy import Credentials
from local.lambdas import RUNNING
from local.signatures import Key

WORKSPACE_KEY, SECRET = "AKIAWORKSPACE0000000", "local-function-secret"
_FUNCTION_KEY = "AKIAFUNCTION"
_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A session of a role: who it is, and the key that it signs with. ``user_id`` holds the session's name, too."""

    access_key_id: str
    arn: str
    account: str
    user_id: str
    key: Key


def access_key_of(function: str) -> str:
    """The key of a function by its logical id, which may follow the stack's name; without a function, the workspace's own."""
    return _FUNCTION_KEY + function.rpartition("-")[2] if function else WORKSPACE_KEY


def function_of(access_key_id: str) -> str | None:
    """The logical id of the function whose key this is."""
    return access_key_id.removeprefix(_FUNCTION_KEY) if access_key_id.startswith(_FUNCTION_KEY) else None


def assume_role(role: str, session: str, *, account: str = seed.ACCOUNT) -> dict[str, str]:
    """Credentials for a session of a role, from STS; any role may be assumed under any name by whoever is in this process."""
    sts: Any = boto3.client("sts")
    given = {"RoleArn": f"arn:aws:iam::{account}:role/{role}", "RoleSessionName": session}
    made = sts.assume_role(**given, DurationSeconds=_SESSION_SECONDS)["Credentials"]
    names = {"AccessKeyId": "aws_access_key_id", "SecretAccessKey": "aws_secret_access_key"}
    return {name: str(made[key]) for key, name in (names | {"SessionToken": "aws_session_token"}).items()}


def find_identity(access_key_id: str) -> Identity | None:
    """The session of a role whose key this is."""
    roles = [role for accounts in list(sts_backends.values()) for role in accounts["aws"].assumed_roles]
    role = next((role for role in roles if role.access_key_id == access_key_id), None)
    if role is None:
        return None
    secret, token, expires_at = role.secret_access_key, role.session_token, role.expiration.replace(tzinfo=UTC)
    key = Key(secret_access_key=secret, session_token=token, expires_at=expires_at)
    names = {"arn": role.arn, "account": role.account_id, "user_id": role.user_id}
    return Identity(access_key_id=access_key_id, key=key, **names)


def principal_of(access_key_id: str) -> str:
    """The AWS principal behind an access key, as Session Manager names the owner of a session."""
    found = find_identity(access_key_id)
    return found.arn if found else f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/Developer/functions@example.com"


def users_of(arn: str, catalogue: Catalogue) -> Collection[str]:
    """Every database user that somebody's own policy lets them connect as: theirs, at each location and level."""
    if (caller := catalogue.find_caller(arn)) is None:
        return ()
    places = [(location, level) for location in catalogue.locations for level in PermissionLevel]
    identity = {"person_id": caller.person_id, "name": caller.name}
    return {person_role(location=location, level=level, **identity) for location, level in places}


def find_credentials(
    access_key_id: str,
    authorize: Callable[[AwsCall], str | None] | None,
    find_users: Callable[[str], Collection[str]] = lambda _: (),
) -> Credentials | None:
    """What the door of the databases knows of a key. A function may connect as our users, where ``authorize`` agrees.

    Whoever has a session of a role may connect as the users that ``find_users`` knows of its ARN.
    """
    if (identity := find_identity(access_key_id)) is not None:
        key, users = identity.key, find_users(identity.arn)
        return Credentials(
            secret_access_key=key.secret_access_key, session_token=key.session_token, may_connect=users.__contains__
        )
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
