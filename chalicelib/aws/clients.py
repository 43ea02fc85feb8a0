"""boto3 clients, made once each with bounded waits and retries. Nothing is made at import."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import AccessError

_CONFIG = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})


@cache
def client(service: str, region: str | None = None) -> Any:
    """The client of an AWS service, in the function's own region unless another is named."""
    make: Any = boto3.client  # its overloads want the service's name as a literal
    return make(service, region_name=region, config=_CONFIG)


def error_code(error: ClientError) -> str:
    """AWS's name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(kind: type[AccessError], sentence: str) -> Iterator[None]:
    """Turn whatever botocore raises into an error of ours, keeping AWS's code and dropping its text, which names ARNs."""
    try:
        yield
    except ClientError as error:
        raise kind(f"{sentence} (AWS said {error_code(error)}).") from error
    except BotoCoreError as error:
        raise kind(f"{sentence} ({type(error).__name__}).") from error
