"""JSON that others may have written: a line of the audit log, a role's comment, the cause of a failed step."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.aws.audit_trail import read_line, to_line
from chalicelib.domain.audit import AuditLine, LineKind
from chalicelib.domain.endings import StepError
from chalicelib.postgres.statements import PROVISIONER
from tests.fuzz.mutations import json_values, mutated_bytes, mutated_documents, tries
from tests.unit.test_statements import ROLE

LINE = to_line(AuditLine(trail="R-ABC234", number=1, hash="0" * 64, kind=LineKind.WRITTEN))
CLAIMS = json.loads((ROLE.comment or "").removeprefix(PROVISIONER))
CAUSE = {"errorType": "DatabaseSetupError", "errorMessage": "Say this.", "stackTrace": []}
READERS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "a line of the log": (LINE, read_line),
    "whose a role is": (CLAIMS, lambda text: replace(ROLE, comment=PROVISIONER + text).owning_request),
    "when a role was made": (CLAIMS, lambda text: replace(ROLE, comment=PROVISIONER + text).made_by),
    "why a step failed": (CAUSE, lambda text: StepError(Error="DatabaseSetupError", Cause=text).explain("R-ABC234")),
}


@pytest.mark.parametrize("what", READERS)
def test_whatever_is_read_is_read_or_passed_over(what: str) -> None:
    """Damaged, of another shape, too long or too deep."""
    document, read = READERS[what]

    @tries(150)
    @given(
        mutated_documents(document).map(json.dumps)
        | json_values.map(json.dumps)
        | mutated_bytes(json.dumps(document).encode()).map(lambda data: data.decode(errors="replace"))
        | st.text()
    )
    @example('{"a":' * 4000)
    @example("[" * 4000)
    @example("9" * 5000)
    @example('{"number": 1e400, "trail": "R-ABC234", "hash": "", "is": "written"}')
    def attempt(text: str) -> None:
        read(text)

    attempt()


@pytest.mark.parametrize("what", READERS)
def test_what_is_as_we_write_it_is_read(what: str) -> None:
    """Else passing everything over would do."""
    document, read = READERS[what]

    assert read(json.dumps(document))
