"""Judges each call to AWS in a workspace by the very policies that are deployed, and notes what was called."""

import os
import threading
from collections import defaultdict
from functools import cache
from pathlib import Path

from local.aws_calls import AwsCall
from local.identities import WORKSPACE_KEY, find_identity, function_of
from tests.privileges.actions import requests_of
from tests.privileges.calls import line_of, write_calls
from tests.privileges.evaluator import Request, Statement, is_allowed
from tests.privileges.suite import SEEN
from tests.privileges.world import FUNCTIONS, LocalWorld, logical_id, policy_of, read_document, user_statements

_INTERPRETER_KEY = "ak"
_TRUSTED = {WORKSPACE_KEY, _INTERPRETER_KEY}
"""Whoever drives the workspace, and moto's interpreter in the place of the workflow's own role."""


class Judge:
    """Says of a call why it may not be made, or None. ``refusals`` holds every sentence said, whatever became of it."""

    def __init__(self) -> None:
        self._world = LocalWorld()
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = defaultdict(set)
        self.refusals: list[str] = []

    def __call__(self, call: AwsCall) -> str | None:
        if call.access_key_id in _TRUSTED:
            return None
        try:
            requests = requests_of(call, self._world)
        except KeyError as error:
            return self._refuse(f"Nobody has said which actions {error} needs, made by {call.access_key_id}.")
        function = _functions().get(function_of(call.access_key_id) or "")
        person = _person_of(call.access_key_id)
        if function is None and person is None:
            return self._refuse(f"{call.access_key_id} is the key of nobody here.")
        for request in requests:
            if function is not None:
                self._note(function, request)
                is_fine = is_allowed(policy_of_function(function), request)
            else:
                is_fine = is_allowed(_policy_of_people(), _as_person(request, person))
            if not is_fine:
                return self._refuse(
                    f"{function or person} is not authorized to perform: {request.action} on resource: {request.resource}"
                    f" with {dict(request.context)}"
                )
        return None

    def has_seen(self, function: str, action: str, *parts: str) -> bool:
        """Did the function make a call that needed this action, with these words in its line?"""
        with self._lock:
            return any(f'"{action}"' in line and all(part in line for part in parts) for line in self._seen[function])

    def leave_behind(self) -> None:
        """Write what was called into the directory that the environment names, if it names one."""
        directory = os.environ.get(SEEN)
        if directory and self._seen:
            with self._lock:
                calls = {function: frozenset(lines) for function, lines in self._seen.items()}
            write_calls(calls, Path(directory) / f"{os.getpid()}-{id(self)}.json")

    def _note(self, function: str, request: Request) -> None:
        with self._lock:
            self._seen[function].add(line_of(request))

    def _refuse(self, sentence: str) -> str:
        with self._lock:
            self.refusals.append(sentence)
        return sentence


@cache
def policy_of_function(function: str) -> tuple[Statement, ...]:
    """The deployed policy of a function, with the workspace's names in it."""
    return policy_of(read_document(function))


@cache
def _policy_of_people() -> tuple[Statement, ...]:
    return user_statements()


@cache
def _functions() -> dict[str, str]:
    return {logical_id(name): name for name in FUNCTIONS}


def _person_of(access_key_id: str) -> str | None:
    """The name of a role's session: people's roles and pipelines' have the policy that the stack makes for them."""
    found = find_identity(access_key_id)
    return found.arn.rpartition("/")[2] if found else None


def _as_person(request: Request, person: str | None) -> Request:
    context = {**request.context, "aws:userid": (f"AROAEXAMPLE:{person}",)}
    return Request(action=request.action, resource=request.resource, context=context)
