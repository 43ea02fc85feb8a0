"""The Session Manager preferences of an account: the key and the log bucket that they name, which bastions must be allowed."""

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code
from deployment.account import Account, explained

_DOCUMENT = "SSM-SessionManagerRunShell"
_NONE = {"InvalidDocument", "InvalidDocumentVersion"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPreferences:
    """ARNs; empty where the preferences name none."""

    key: str = ""
    log_bucket: str = ""


def find_session_preferences(account: Account) -> SessionPreferences:
    """What the preferences of this region say; nothing where there are none. Raises DeploymentError."""
    with explained("read the Session Manager preferences"):
        try:
            document = account.client("ssm").get_document(Name=_DOCUMENT)
        except ClientError as error:
            if error_code(error) in _NONE:
                return SessionPreferences()
            raise
        inputs: dict[str, Any] = json.loads(document["Content"]).get("inputs", {})
        bucket = str(inputs.get("s3BucketName") or "")
        return SessionPreferences(
            key=_key_arn(account, str(inputs.get("kmsKeyId") or "")),
            log_bucket=f"arn:{account.partition}:s3:::{bucket}" if bucket else "",
        )


def _key_arn(account: Account, key: str) -> str:
    """The preferences may hold an id, an alias or an ARN; a policy takes the key's own ARN."""
    if not key or ":key/" in key:
        return key
    return str(account.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"])
