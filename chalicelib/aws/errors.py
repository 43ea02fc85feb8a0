"""What AWS's clients raise, as errors of ours. Knows no client, so that it costs nobody one."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import AccessError


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
