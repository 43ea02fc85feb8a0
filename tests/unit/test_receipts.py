"""What a receipt proves."""

from typing import Any

import pytest

from tests.factories import a_receipt


@pytest.mark.parametrize(
    ("left", "is_proof"),
    [
        ({}, True),
        ({"is_dropped": False}, True),
        ({"sessions": 1}, False),
        ({"can_log_in": True}, False),
        ({"memberships": ("drawbridge_abcdefgh_r",)}, False),
        ({"unchecked": ("The reader did not answer.",)}, True),
        ({"sessions": 3, "can_log_in": True, "superseded_by": "R-NEXT22"}, True),
    ],
)
def test_a_receipt_proves_the_end_when_nothing_usable_is_left(left: dict[str, Any], is_proof: bool) -> None:
    """No session, no login, no membership; or the role belongs to a newer request by now."""
    assert is_proof == a_receipt(**left).proves_end
