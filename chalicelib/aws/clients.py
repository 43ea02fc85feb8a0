"""boto3 clients, made once each with bounded waits and retries. Nothing is made at import, but importing boto3 is not cheap."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
_QUICK = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})


@cache
def client(service: str, region: str | None = None) -> Any:
    """The client of an AWS service, in the function's own region unless another is named."""
    make: Any = boto3.client  # its overloads want the service's name as a literal
    return make(service, region_name=region, config=_CONFIG)


@cache
def quick_client(service: str) -> Any:
    """The client of a service that nobody's end may wait for: it gives up within eight seconds."""
    make: Any = boto3.client
    return make(service, config=_QUICK)
