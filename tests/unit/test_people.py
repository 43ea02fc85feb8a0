"""Who a person is."""

import pytest

from tests.factories import a_person

ROLE = "arn:aws:sts::123456789012:assumed-role"


def test_a_person_is_their_team_and_user() -> None:
    """The catalogue's name is only for display: the same Slack user under another name is the same person."""
    assert a_person("bob").person_id == "T0EXAMPLE/U0BOB"


@pytest.mark.parametrize(
    ("arn", "is_owned"),
    [
        (f"{ROLE}/Dev_0a1b2c/bob@example.com", True),
        (f"{ROLE}/Dev_0a1b2c/alice@example.com", False),
        (f"{ROLE}/dev_0a1b2c/bob@example.com", False),
        (f"{ROLE}/Dev_0a1b2c/bob@example.com/more", False),
        ("", False),
    ],
)
def test_a_principal_is_owned_by_its_pattern(arn: str, is_owned: bool) -> None:
    """The whole ARN must match, with its case."""
    bob = a_person("bob", aws=(f"{ROLE}/Dev_*/bob@example.com",))

    assert is_owned == bob.owns_principal(arn)


def test_nobody_owns_a_principal_without_a_pattern() -> None:
    """Not even an empty one, which is what SSM says when it does not know."""
    assert not a_person("bob").owns_principal("")
