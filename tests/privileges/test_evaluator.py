"""The evaluator decides as IAM does, and understands nothing by guessing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.privileges.evaluator import PolicyError, Request, is_allowed, read_policy, resolve

TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/drawbridge"
TEXTS = st.text(alphabet="ab*?#:/", min_size=1, max_size=8)


def decide(request: Request, *statements: dict[str, Any]) -> bool:
    return is_allowed(read_policy({"Version": "2012-10-17", "Statement": list(statements)}), request)


def allow(
    action: str | list[str] = "dynamodb:GetItem", resource: str | list[str] = TABLE, **conditions: Any
) -> dict[str, Any]:
    condition = {"Condition": conditions["condition"]} if conditions else {}
    return {"Effect": "Allow", "Action": action, "Resource": resource, **condition}


def on_table(action: str = "dynamodb:GetItem", **context: tuple[str, ...]) -> Request:
    return Request(action=action, resource=TABLE, context=context)


def keyed(*keys: str) -> Request:
    return Request(action="dynamodb:GetItem", resource=TABLE, context={"dynamodb:LeadingKeys": keys})


def test_nothing_is_allowed_that_no_statement_allows() -> None:
    """Another action, another resource and an empty policy are refused alike."""
    assert not decide(on_table())
    assert not decide(on_table("dynamodb:PutItem"), allow())
    assert not decide(Request(action="dynamodb:GetItem", resource=TABLE + "2"), allow())
    assert decide(on_table(), allow("dynamodb:PutItem"), allow(["dynamodb:Query", "dynamodb:GetItem"]))


def test_a_denial_wins() -> None:
    """Whatever else allows it, and wherever it stands."""
    denial = allow() | {"Effect": "Deny"}

    assert [False, False] == [decide(on_table(), denial, allow()), decide(on_table(), allow(), denial)]


@given(TEXTS)
def test_a_resource_without_stars_is_only_itself(text: str) -> None:
    """No sign but star and question mark stands for another."""
    plain = text.replace("*", "").replace("?", "") or "a"

    assert decide(Request(action="a:b", resource=plain), allow("a:b", plain))
    assert not decide(Request(action="a:b", resource=plain + "x"), allow("a:b", plain))
    assert decide(Request(action="a:b", resource=plain + "x"), allow("a:b", plain + "*"))


def test_every_leading_key_must_fit() -> None:
    """One key of a batch outside the prefixes refuses the batch."""
    prefixes = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["REQUEST#*", "GRANT#*"]}}

    assert decide(keyed("REQUEST#R-1", "GRANT#g"), allow(condition=prefixes))
    assert not decide(keyed("REQUEST#R-1", "BASTION#main"), allow(condition=prefixes))


def test_a_condition_on_all_values_holds_for_none_at_all() -> None:
    """As IAM has it, so a scan would pass: only Null refuses what names no key."""
    prefixes = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "REQUEST#*"}}
    named = prefixes | {"Null": {"dynamodb:LeadingKeys": "false"}}

    assert decide(on_table(), allow(condition=prefixes))
    assert not decide(on_table(), allow(condition=named))
    assert decide(keyed("REQUEST#R-1"), allow(condition=named))


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "holds"),
    [
        ("StringEquals", "prod", "prod", True),
        ("StringEquals", "pr*", "prod", False),
        ("StringLike", "pr*", "prod", True),
        ("StringLike", "pr*", None, False),
        ("Bool", "true", "True", True),
        ("Bool", "true", "false", False),
        ("Bool", "true", None, False),
        ("BoolIfExists", "true", None, True),
        ("BoolIfExists", "true", "false", False),
        ("ArnLike", "arn:aws:ec2:*:1:lt/*", "arn:aws:ec2:eu:1:lt/a", True),
        ("ArnLike", "arn:aws:ec2:*:lt/*", "arn:aws:ec2:eu:1:lt/a", False),
        ("ArnLike", "*", "arn:aws:ec2:eu:1:lt/a", False),
        ("Null", "true", None, True),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
    ],
)
def test_an_operator_decides_as_in_iam(operator: str, wanted: str, found: str | None, holds: bool) -> None:
    """A key that the request lacks fails all of them but Null and those that say IfExists."""
    context = {} if found is None else {"key": (found,)}

    assert holds is decide(on_table(**context), allow(condition={operator: {"key": wanted}}))


def test_a_variable_is_the_caller_and_nobody_where_there_is_none() -> None:
    """``${aws:userid}`` stands for who asks; a request without one matches nothing."""
    own = allow("a:b", "session/${aws:userid}-*")

    assert decide(Request(action="a:b", resource="session/me-1", context={"aws:userid": ("me",)}), own)
    assert not decide(Request(action="a:b", resource="session/you-1", context={"aws:userid": ("me",)}), own)
    assert not decide(Request(action="a:b", resource="session/me-1"), own)


@pytest.mark.parametrize(
    "statement",
    [
        allow() | {"NotAction": "a:b"},
        allow() | {"Principal": "*"},
        allow() | {"Effect": "Maybe"},
        allow("dynamodb:*"),
        allow("*"),
        allow([]),
        allow(condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        allow(condition={"ForAnyValue:StringLike": {"key": "a"}}),
        allow(condition={"StringNotEquals": {"key": "a"}}),
    ],
)
def test_what_is_not_understood_is_an_error(statement: dict[str, Any]) -> None:
    """Never a permission, nor a refusal that would look like one that was thought about."""
    with pytest.raises(PolicyError):
        decide(on_table(key=("a",)), statement)


def test_intrinsics_become_names() -> None:
    """Each database and each subnet its own text, IAM's own variables left alone."""
    names = {"Ledger.Arn": TABLE, "Secret": "s", "AWS::Region": "eu-west-1"}
    given = {
        "Resource": [
            {"Fn::GetAtt": ["Ledger", "Arn"]},
            {"Ref": "Secret"},
            {"Fn::Sub": "${AWS::Region}/${!aws:userid}"},
            {"Drawbridge::EachDatabase": "${AWS::Region}:${ResourceId}"},
            {"Drawbridge::EachSubnet": "subnet/${Subnet}"},
        ]
    }

    each = {
        "Drawbridge::EachDatabase": [{"ResourceId": "a"}, {"ResourceId": "b"}],
        "Drawbridge::EachSubnet": [{"Subnet": "c"}],
    }
    resolved = resolve(given, names, each)

    assert [TABLE, "s", "eu-west-1/${aws:userid}", "eu-west-1:a", "eu-west-1:b", "subnet/c"] == resolved["Resource"]


@pytest.mark.parametrize("given", [{"Ref": "Other"}, {"Fn::Join": ["", ["a"]]}, {"Fn::If": ["A", "b", "c"]}])
def test_an_intrinsic_without_a_meaning_here_is_an_error(given: dict[str, Any]) -> None:
    """A name that nothing has would else be a resource that nothing matches."""
    with pytest.raises(PolicyError):
        resolve({"Resource": given}, {"Ledger.Arn": TABLE})
