"""Functions that are invoked and not waited for."""

import json
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.domain.errors import LedgerUnavailableError


class LambdaInvocations:
    """Asks IssueToken to fill a view that is open already."""

    def __init__(self, lambda_client: Any, issue_token_function: str) -> None:
        self._lambda = lambda_client
        self._issue_token_function = issue_token_function

    def issue_token(self, *, request_id: str, view_id: str, person_id: str) -> None:
        """Hand over who asked, for what and where to show it. Raises LedgerUnavailableError."""
        payload = {"request_id": request_id, "view_id": view_id, "person_id": person_id}
        with translated(LedgerUnavailableError, "No token could be asked for; press the button again"):
            self._lambda.invoke(
                FunctionName=self._issue_token_function, InvocationType="Event", Payload=json.dumps(payload)
            )
