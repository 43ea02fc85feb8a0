"""What IAM makes of our policies: a request is allowed where a statement says so and none denies it.

It knows the elements, intrinsics and condition operators that our policies use. Anything else raises PolicyError: what is not
understood must never count as allowed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_NO_RESOURCE = "*"


class PolicyError(Exception):
    """A policy says what this evaluator does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One action on one resource; ``*`` is the resource of an action that has none. ``context`` holds the condition keys."""

    action: str
    resource: str = _NO_RESOURCE
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement with everything in it spelled out."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]

    def applies_to(self, request: Request) -> bool:
        """Do action, resource and every condition fit?"""
        return (
            request.action in self.actions
            and any(_is_like(request.resource, filled(each, request)) for each in self.resources)
            and all(
                _holds(operator, request.context.get(key), tuple(filled(each, request) for each in values))
                for operator, keys in self.conditions.items()
                for key, values in keys.items()
            )
        )


def read_policy(document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements of a document whose intrinsics are resolved. Raises PolicyError."""
    if document.keys() != {"Version", "Statement"} or document["Version"] != "2012-10-17":
        raise PolicyError(f"Not a policy of 2012-10-17: {sorted(document)}")
    return tuple(_read_statement(each) for each in document["Statement"])


def is_allowed(policy: Sequence[Statement], request: Request) -> bool:
    """By this policy alone: at least one statement allows it, and none denies it."""
    deciding = [statement.allows for statement in policy if statement.applies_to(request)]
    return bool(deciding) and all(deciding)


def filled(text: str, request: Request) -> str:
    """The text with policy variables such as ``${aws:userid}`` replaced. One that the request lacks matches nothing."""
    return _VARIABLE.sub(lambda found: next(iter(request.context.get(found[1], ())), "\0"), text)


def _read_statement(given: Mapping[str, Any]) -> Statement:
    if unknown := given.keys() - _ELEMENTS:
        raise PolicyError(f"Elements that are not understood: {sorted(unknown)}")
    if given["Effect"] not in {"Allow", "Deny"}:
        raise PolicyError(f"An effect that is not understood: {given['Effect']}")
    actions, resources = _texts(given["Action"]), _texts(given["Resource"])
    if wild := [action for action in actions if "*" in action or ":" not in action]:
        raise PolicyError(f"Actions are written out: {wild}")
    conditions = {
        operator: {key: _texts(values) for key, values in keys.items()}
        for operator, keys in given.get("Condition", {}).items()
    }
    for operator in conditions:
        _require_known(operator)
    return Statement(allows=given["Effect"] == "Allow", actions=actions, resources=resources, conditions=conditions)


def _texts(given: Any) -> tuple[str, ...]:
    texts = tuple(given) if isinstance(given, list) else (given,)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise PolicyError(f"Neither a text nor a list of texts: {given}")
    return texts


_SINGLE = {"StringEquals", "StringLike", "ArnLike", "Bool", "Null"}


def _require_known(operator: str) -> None:
    if operator.removeprefix("ForAllValues:").removesuffix("IfExists") not in _SINGLE:
        raise PolicyError(f"A condition operator that is not understood: {operator}")


def _holds(operator: str, found: tuple[str, ...] | None, wanted: tuple[str, ...]) -> bool:
    _require_known(operator)
    if operator == "Null":
        return wanted == ("true" if found is None else "false",)
    if operator.startswith("ForAllValues:"):  # true of nothing at all, as IAM has it: only Null sees to that
        return all(_holds(operator.removeprefix("ForAllValues:"), (each,), wanted) for each in found or ())
    if found is None:
        return operator.endswith("IfExists")
    if len(found) != 1:
        raise PolicyError(f"{operator} is for one value, not for {found}")
    return any(_fits(operator.removesuffix("IfExists"), found[0], each) for each in wanted)


def _fits(operator: str, found: str, wanted: str) -> bool:
    match operator:
        case "StringEquals":
            return found == wanted
        case "Bool":
            return found.lower() == wanted.lower()
        case "ArnLike":
            parts = zip(found.split(":", 5), wanted.split(":", 5), strict=False)
            return found.count(":") >= 5 <= wanted.count(":") and all(_is_like(*each) for each in parts)
        case _:
            return _is_like(found, wanted)


def _is_like(found: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(found) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern), re.DOTALL)


def resolve(
    value: Any, names: Mapping[str, str], each: Mapping[str, Sequence[Mapping[str, str]]] = MappingProxyType({})
) -> Any:
    """A document with CloudFormation's intrinsics replaced by ``names``: ``Ledger.Arn``, ``AWS::Region``. Raises PolicyError.

    A key of ``each``, such as ``Drawbridge::EachDatabase``, stands for one text for each of its names.
    """
    match value:
        case [*items]:
            return [one for item in items for one in _spread(item, names, each)]
        case {"Ref": str(name)}:
            return _named(names, name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return _named(names, f"{name}.{attribute}")
        case {"Fn::Sub": str(text)}:  # ``${!name}`` stays behind as IAM's own ``${name}``
            return _VARIABLE.sub(
                lambda found: _named(names, found[1]) if found[1][0] != "!" else f"${{{found[1][1:]}}}", text
            )
        case {**members}:
            if intrinsics := [name for name in members if name == "Ref" or name.startswith(("Fn::", "Drawbridge::"))]:
                raise PolicyError(f"Intrinsics that are not understood here: {intrinsics}")
            return {name: resolve(member, names, each) for name, member in members.items()}
    return value


def _spread(item: Any, names: Mapping[str, str], each: Mapping[str, Sequence[Mapping[str, str]]]) -> list[Any]:
    if isinstance(item, dict) and len(item) == 1 and (marker := next(iter(item))) in each:
        text = {"Fn::Sub": item[marker]}
        return list(dict.fromkeys(resolve(text, {**names, **one}) for one in each[marker]))
    return [resolve(item, names, each)]


def _named(names: Mapping[str, str], name: str) -> str:
    if name not in names:
        raise PolicyError(f"Nothing here is called {name}")
    return names[name]
