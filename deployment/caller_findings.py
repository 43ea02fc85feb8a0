"""Whether the AWS principals of the catalogue's people and machines are what the catalogue takes them for. Changes nothing.

Whoever may choose the name of a role's session could call the API as anybody who is known by such a name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from chalicelib.domain.callers import IDENTITY_CENTER, ROLE, find_session
from chalicelib.postgres.setup_check import Finding, Mark
from deployment.account import Account, explained
from deployment.aws_findings import asked
from deployment.stage import Stage

_IDENTITY_CENTERS_PATH = "/aws-reserved/sso.amazonaws.com/"
"""Where IAM lets nobody but Identity Center make a role. ARNs of sessions do not show it."""
_FREE_ACTIONS = ("sts:assumerole", "sts:assumerolewithwebidentity")
"""Those of which the caller says the session's name; in SAML's the identity provider says it."""
_NAME = "sts:rolesessionname"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_USER_NAME = "aws:username"
"""The one policy variable that whoever assumes a role has no say in."""
_FIX = (
    'Let its trust policy say "Condition": {"StringEquals": {"sts:RoleSessionName": "${aws:username}"}}, or one name, in each'
    " statement that allows sts:AssumeRole."
)

_Document = Mapping[str, Any]


def examine_callers(stage: Stage) -> Iterator[Finding]:
    """Is each role that people or machines call with as the catalogue has it?"""
    yield from asked("whose calls the API takes", lambda: _find_callers(stage))


def lets_callers_choose_the_name(trust_policy: _Document) -> bool:
    """May somebody who is let into a role say what their session is called? Rather yes than no."""
    return any(map(_leaves_name_open, _listed(trust_policy.get("Statement", []))))


def _find_callers(stage: Stage) -> Iterator[Finding]:
    catalogue, account = stage.catalogue, stage.account
    sessions = (find_session(entry) for person in catalogue.people.values() for entry in person.aws)
    patterns = {role for number, role in filter(None, sessions) if number == account.number}
    machines = {name: ROLE.fullmatch(machine.role) for name, machine in catalogue.machines.items()}
    if not patterns and not machines:
        return
    roles = _list_roles(account)
    for name, role in sorted(roles.items()):
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            yield _judge_role(name, role, is_vouched_for=name in catalogue.fixed_session_names)
    for name in sorted(catalogue.fixed_session_names & patterns - set(roles)):
        yield _missing(f"with which people of the catalogue call, {name}", account, "api.fixed_session_names")
    for machine, match in sorted(machines.items()):
        if match is not None and match["account"] == account.number:
            yield _judge_machine(machine, match["role"], catalogue.machines[machine].role, roles, account)


def _judge_role(name: str, role: _Document, *, is_vouched_for: bool) -> Finding:
    if name.startswith(IDENTITY_CENTER):
        if role["Path"].startswith(_IDENTITY_CENTERS_PATH):
            return Finding(mark=Mark.HOLDS, what=f"sessions of {name} bear the names that Identity Center gives them")
        return Finding(
            mark=Mark.REPAIR,
            what=f"the role {name} is not Identity Center's, so whoever made it could call as people of the catalogue",
            repair=f"Find out who did, and delete it: aws iam delete-role --role-name {name}",
        )
    is_open = lets_callers_choose_the_name(role["AssumeRolePolicyDocument"])
    if is_vouched_for and is_open:
        return Finding(
            mark=Mark.REPAIR,
            what=f"whoever may assume the role {name} chooses the name of their session, so they could call as anybody",
            repair=f"{_FIX}\nUntil then take {name} out of api.fixed_session_names in the catalogue, and deploy.",
        )
    if is_vouched_for:
        return Finding(mark=Mark.HOLDS, what=f"nobody may choose the name of a session of the role {name}")
    names = "is chosen by whoever assumes it" if is_open else "is fixed by its trust policy"
    return Finding(
        mark=Mark.CAUTION,
        what=f"by the role {name} tunnels are told apart, and nobody calls the API; the name of its sessions {names}",
        repair=f"To let people call by it: {_FIX if is_open else ''} List {name} in api.fixed_session_names.".replace(
            "  ", " "
        ),
    )


def _judge_machine(machine: str, name: str, arn: str, roles: Mapping[str, _Document], account: Account) -> Finding:
    if name not in roles:
        return _missing(f"of the machine {machine}, {name}", account, f"machines.{machine}")
    found = roles[name]["Arn"]
    if found != arn:
        return Finding(
            mark=Mark.REPAIR,
            what=f"the role of the machine {machine} is {found}, not {arn}",
            repair=f"Correct machines.{machine} in the catalogue, and deploy.",
        )
    return Finding(mark=Mark.HOLDS, what=f"the machine {machine} calls with the role {name}")


def _missing(what: str, account: Account, key: str) -> Finding:
    return Finding(
        mark=Mark.REPAIR,
        what=f"the role {what}, is not there in account {account.number}",
        repair=f"Make it, or correct {key} in the catalogue, and deploy.",
    )


def _list_roles(account: Account) -> dict[str, _Document]:
    with explained("list the roles of the account"):
        pages = account.client("iam").get_paginator("list_roles").paginate()
        return {role["RoleName"]: role for page in pages for role in page["Roles"]}


def _leaves_name_open(statement: _Document) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    patterns = [pattern.lower() for pattern in _listed(statement.get("Action", "*"))]
    is_free = any(fnmatchcase(action, pattern) for action in _FREE_ACTIONS for pattern in patterns)
    return is_free and not any(
        operator.lower() in {"stringequals", "stringlike"} and key.lower() == _NAME and _is_fixed(_listed(values))
        for operator, wanted in statement.get("Condition", {}).items()
        for key, values in wanted.items()
    )


def _is_fixed(values: list[str]) -> bool:
    """One name, or the caller's own: of several they could choose."""
    if len(values) != 1 or set(_VARIABLE.findall(values[0])) - {_USER_NAME}:
        return False
    return not set("*?$") & set(_VARIABLE.sub("", values[0]))


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | Mapping) else list[Any](value) if isinstance(value, Iterable) else []
