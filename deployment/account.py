"""Whose account and which region a verb works in, and what AWS's refusals mean for the person who runs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from chalicelib.aws.clients import client
from chalicelib.aws.errors import error_code
from chalicelib.domain.errors import AccessError, SettingsError

_NO_IDENTITY = (
    CredentialRetrievalError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_REFUSED_IDENTITY = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_FORBIDDEN = {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
_LONGEST_MESSAGE = 400


class DeploymentError(AccessError):
    """A verb of the operator's program cannot go on. Says what is as it is now, and what to do next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An AWS account and region. ``caller`` is the ARN of whoever asks."""

    number: str
    region: str
    caller: str

    @property
    def partition(self) -> str:
        """Such as ``aws`` or ``aws-cn``."""
        return self.caller.split(":")[1]

    def client(self, service: str) -> Any:
        """A client of this region."""
        return client(service, self.region)


def find_account(region: str) -> Account:
    """Ask AWS who we are. Raises SettingsError for an identity of no use, and DeploymentError."""
    with explained("tell whose account this is"):
        identity = client("sts", region).get_caller_identity()
    return Account(number=identity["Account"], region=region, caller=identity["Arn"])


def find_configured_region() -> str | None:
    """The region of the environment or of the profile."""
    try:
        return boto3.session.Session().region_name
    except ProfileNotFound as error:
        raise _useless(error) from error


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever botocore raises within into an error for the operator, who may read AWS's own text.

    ``what`` completes "AWS was asked to". Raises SettingsError for an identity of no use, else DeploymentError.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if (useless := find_useless_identity(error)) is not None:
            raise useless from error
        if not isinstance(error, ClientError):
            raise DeploymentError(
                f"AWS could not be asked to {what} ({type(error).__name__}). Look at the network and run this again."
            ) from error
        code, operation = error_code(error), error.operation_name
        if code in _FORBIDDEN:
            raise DeploymentError(
                f"AWS refuses to {what}: your identity lacks the right to call {operation}."
            ) from error
        message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:_LONGEST_MESSAGE]
        raise DeploymentError(f"AWS would not {what} ({operation}: {code}). It says: {message}") from error


def find_useless_identity(error: BaseException | None) -> SettingsError | None:
    """What to tell whoever has no AWS credentials or ones that AWS refuses; None when that is not what went wrong."""
    code = error_code(error) if isinstance(error, ClientError) else ""
    return _useless(error, code) if isinstance(error, _NO_IDENTITY) or code in _REFUSED_IDENTITY else None


def _useless(error: BaseException | None, code: str = "") -> SettingsError:
    return SettingsError(
        f"There are no AWS credentials that AWS accepts ({code or type(error).__name__}). Sign in, for example with: "
        "aws sso login. Then name the profile in AWS_PROFILE."
    )
