"""The document that an execution starts with."""

import json

import pytest

from chalicelib.domain.documents import new_document
from chalicelib.domain.endings import Prepared, Purpose
from chalicelib.domain.payloads import from_payload
from chalicelib.domain.receipts import ClosedTunnels


@pytest.mark.parametrize("purpose", Purpose)
def test_a_document_is_json_that_says_who_and_what_for(purpose: Purpose) -> None:
    """Step Functions takes nothing else."""
    document = json.loads(json.dumps(new_document("R-ABC234", purpose)))

    assert ("R-ABC234", purpose.value) == (document["request_id"], document["purpose"])


def test_a_fresh_document_claims_nothing() -> None:
    """Whatever state dies first, the end must not read that there was nothing to revoke, or that something was proved."""
    document = new_document("R-ABC234", Purpose.GRANT)
    prepared = [from_payload(Prepared, branch) for branch in document["prepared"].values()]

    assert (None, None) == (document["database"]["order"], document["revocation"]["receipt"])
    assert not any(branch.is_ok or branch.error.is_answer for branch in prepared)
    assert ClosedTunnels() == from_payload(ClosedTunnels, document["closing"]["tunnels"])
    assert not document["confirmation"]["is_confirmed"]
    assert "failed" == document["report"]["outcome"]


def test_a_document_names_a_provisioner_before_the_grant_does() -> None:
    """The workflow builds a function's name from it on every way."""
    assert "main" == new_document("R-ABC234", Purpose.REVOKE)["database"]["provisioner"]


def test_two_documents_share_nothing() -> None:
    """What one execution fills in stays its own."""
    first, second = (new_document("R-ABC234", Purpose.GRANT) for _ in range(2))
    first["closing"]["tunnels"]["ended"].append("alice-1")

    assert [] == second["closing"]["tunnels"]["ended"]
