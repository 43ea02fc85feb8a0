"""The calls of each function: the reviewed file, what a run saw, and how both compare with the policies.

A call stands there as the actions that it needed, on what, with the condition keys that AWS would know. Whatever is different
each time is replaced by a star.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.privileges.evaluator import Request, Statement, is_allowed
from tests.privileges.world import NAMES, logical_id

FILE = Path(__file__).parent / "calls.json"
Calls = Mapping[str, frozenset[str]]
"""By function: each request as one line of JSON, so that sets of them can be compared and read."""

_IDENTIFIERS = (
    (re.compile(r"\b(i|lt|subnet|ami|sg)-[0-9a-f]{8,}"), r"\1-*"),
    (re.compile(r":R-\w{6}\b(-[\w-]+)?$"), ":R-*"),
    (re.compile(r"/jit_\w+$"), "/jit_*"),
    (re.compile(r"(log-stream:).+$"), r"\1*"),
    (re.compile(r"(:session/).+$"), r"\1*"),
    (re.compile(r"(:db:).+$"), r"\1*"),
)
_KEYS = "dynamodb:LeadingKeys"
_SESSION = "ssm:resourceTag/aws:ssmmessages:session-id"


def line_of(request: Request) -> str:
    """The request as the file has it."""
    resource = request.resource
    for pattern, replacement in _IDENTIFIERS:
        resource = pattern.sub(replacement, resource)
    context: dict[str, Any] = {}
    for name, values in sorted(request.context.items()):
        if name == _KEYS:
            context[name] = sorted({value.partition("#")[0] + ("#*" if "#" in value else "") for value in values})
        elif name == "ec2:LaunchTemplate":
            context[name] = [re.sub(r"lt-[0-9a-f]+$", "lt-*", value) for value in values]
        elif name != _SESSION:
            context[name] = list(values)
    return json.dumps({"action": request.action, "resource": resource} | ({"context": context} if context else {}))


def request_of(line: str) -> Request:
    """The request that a line stands for."""
    given = json.loads(line)
    context = {name: tuple(values) for name, values in given.get("context", {}).items()}
    return Request(action=given["action"], resource=given["resource"], context=context)


def read_calls(file: Path = FILE) -> dict[str, frozenset[str]]:
    """What a file says."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return {function: frozenset(json.dumps(each) for each in requests) for function, requests in found.items()}


def write_calls(calls: Calls, file: Path = FILE) -> None:
    """One line a request, in order, so that a review sees what changed."""
    functions = [
        f'  "{function}": [\n' + ",\n".join(f"    {line}" for line in sorted(lines)) + "\n  ]"
        for function, lines in sorted(calls.items())
    ]
    file.write_text("{\n" + ",\n".join(functions) + "\n}\n", encoding="utf-8")


def union(several: Sequence[Calls]) -> dict[str, frozenset[str]]:
    """Everything that any of them saw."""
    functions = sorted({function for calls in several for function in calls})
    return {each: frozenset().union(*(calls.get(each, frozenset()) for calls in several)) for each in functions}


def differences(reviewed: Calls, seen: Calls) -> list[str]:
    """A sentence for each request that is in one of them only."""
    sentences = []
    for function in sorted(reviewed.keys() | seen.keys()):
        old, new = reviewed.get(function, frozenset()), seen.get(function, frozenset())
        sentences += [f"{function} makes a call that the file does not have: {line}" for line in sorted(new - old)]
        sentences += [f"{function} did not make a call that the file has: {line}" for line in sorted(old - new)]
    return sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLambda:
    """A request that Lambda makes with a function's role; no code of ours makes it, so no run here sees it."""

    request: Request
    reason: str
    is_code_denied: bool = False


_ENI = {
    "CreateNetworkInterface": "attaches the function to its VPC",
    "DeleteNetworkInterface": "detaches it",
    "DescribeNetworkInterfaces": "looks whether it is attached",
    "DescribeSubnets": "looks where it may be attached",
    "AssignPrivateIpAddresses": "gives the interface an address",
    "UnassignPrivateIpAddresses": "takes it back",
}
IN_VPC = ("provision_database_user", "revoke_access")


def by_lambda(function: str) -> Iterator[ByLambda]:
    """What Lambda itself needs of a function's role (Lambda guide: logs, tracing, and for a VPC "Required IAM permissions")."""
    group = NAMES[f"{logical_id(function)}LogGroup.Arn"].removesuffix("*")
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        stream = Request(action=action, resource=f"{group}log-stream:*")
        yield ByLambda(request=stream, reason="writes what the function logs")
    yield ByLambda(request=Request(action="xray:PutTraceSegments"), reason="traces the function")
    if function in IN_VPC:
        for name, reason in _ENI.items():
            yield ByLambda(request=Request(action=f"ec2:{name}"), reason=reason, is_code_denied=True)


def objections(function: str, policy: Sequence[Statement], calls: Calls) -> list[str]:
    """How a function's policy and its calls disagree: what the policy lacks, and what it grants and nobody needs."""
    services = list(by_lambda(function))
    made = [request_of(line) for line in sorted(calls.get(function, ()))]
    needed = [*made, *(each.request for each in services)]
    found = [f"{function} lacks {each}" for each in needed if not is_allowed(policy, each)]
    found += [
        f"{function}'s own code may do what only Lambda needs: {each.request.action}"
        for each in services
        if each.is_code_denied and is_allowed(policy, _by_code(each.request))
    ]
    denied = {each.request.action for each in services if each.is_code_denied}
    for statement in policy:
        if statement.allows:
            found += [f"{function} never needs {each}" for each in _unused(statement, needed)]
        else:
            found += [f"{function} is denied {each} for nothing" for each in statement.actions if each not in denied]
    return found


def _by_code(request: Request) -> Request:
    return Request(
        action=request.action,
        resource=request.resource,
        context={**request.context, "lambda:SourceFunctionArn": ("arn:aws:lambda:::function:any",)},
    )


def _unused(statement: Statement, needed: Sequence[Request]) -> Iterator[str]:
    """Each action, on each resource, with each value of each condition, that none of the requests needs."""
    for action in statement.actions:
        fitting = [each for each in needed if each.action == action and statement.applies_to(each)]
        for resource in statement.resources:
            only = Statement(allows=True, actions=(action,), resources=(resource,), conditions={})
            on_it = [each for each in fitting if only.applies_to(each)]
            if not on_it:
                yield f"{action} on {resource}"
            for operator, keys in statement.conditions.items():
                for key, values in keys.items():
                    for value in values if len(values) > 1 else ():
                        narrow = Statement(
                            allows=True,
                            actions=(action,),
                            resources=(resource,),
                            conditions={operator.replace("ForAllValues:", ""): {key: (value,)}},
                        )
                        if not any(narrow.applies_to(part) for each in on_it for part in _parts(each, key)):
                            yield f"{action} on {resource} with {key} {value}"


def _parts(request: Request, key: str) -> Iterator[Request]:
    """The request once for each value of a key that has several."""
    for value in request.context.get(key, ()):
        yield Request(action=request.action, resource=request.resource, context={**request.context, key: (value,)})
