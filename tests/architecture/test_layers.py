"""Who may import what. Read from the source alone, so that a broken import is named even where nothing runs it."""

import ast
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = "chalicelib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What the modules of one part may import: parts of ours (itself included) and vendors."""

    parts: Collection[str] = field(default_factory=frozenset)
    vendors: Collection[str] = field(default_factory=frozenset)


LAYERS = {
    "__init__": Layer(),
    "defaults": Layer(),
    "domain": Layer(parts={"domain", "defaults"}),
    "ports": Layer(parts={"domain"}),
    "settings": Layer(parts={"domain", "defaults"}),
    "observability": Layer(parts={"domain"}, vendors={"aws_lambda_powertools"}),
    "workflow": Layer(parts={"workflow", "ports", "domain", "defaults"}),
    "slack": Layer(parts={"slack", "domain", "defaults"}, vendors={"slack_bolt", "slack_sdk"}),
    "aws": Layer(parts={"aws", "domain", "defaults"}, vendors={"boto3", "botocore"}),
    "postgres": Layer(parts={"postgres", "domain", "defaults"}, vendors={"psycopg"}),
    "functions": Layer(
        parts={"functions", "workflow", "slack", "aws", "postgres", "domain", "settings", "observability"},
        vendors={"chalice", "slack_bolt", "slack_sdk"},
    ),
    "app": Layer(parts={"functions", "settings"}, vendors={"chalice", "click"}),
}

ONE_PLACE = {
    "chalicelib/settings.py": ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"),
    "chalicelib/functions/clock.py": (
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
        "time.time",
        "time.time_ns",
        "time.gmtime",
        "time.localtime",
        "time.ctime",
        "time.asctime",
        "time.strftime",
        "time.clock_gettime",
    ),
    "(nowhere)": ("importlib", "runpy", "builtins.__import__"),
}
"""Names of the standard library that one file alone may use; imports at run time would hide from this test."""


def test_every_module_imports_only_what_its_layer_may() -> None:
    """Dependencies point inward, each vendor stays in its folder, and environment and clock have one reader each."""
    assert [] == _violations(ROOT)


@pytest.mark.parametrize(
    ("file", "code", "violation"),
    [
        ("chalicelib/domain/policy.py", "import boto3", "may not import boto3"),
        ("chalicelib/domain/grants.py", "from chalicelib.ports import Clock", "may not import chalicelib.ports.Clock"),
        ("chalicelib/domain/people.py", "from .. import aws", "may not import chalicelib.aws"),
        (
            "chalicelib/workflow/revoke_access.py",
            "def f():\n    from chalicelib.postgres import database_admin",
            "may not import chalicelib.postgres.database_admin",
        ),
        ("chalicelib/workflow/check_policy.py", "import slack_sdk.errors", "may not import slack_sdk.errors"),
        ("chalicelib/slack/notifier.py", "import psycopg", "may not import psycopg"),
        ("chalicelib/slack/cards.py", "from chalicelib import aws", "may not import chalicelib.aws"),
        ("chalicelib/aws/table.py", "import chalicelib.slack.cards", "may not import chalicelib.slack.cards"),
        ("chalicelib/postgres/statements.py", "import boto3 as b", "may not import boto3"),
        (
            "chalicelib/ports.py",
            "from chalicelib.workflow import ask_end",
            "may not import chalicelib.workflow.ask_end",
        ),
        ("chalicelib/functions/workflow.py", "import psycopg", "may not import psycopg"),
        ("chalicelib/functions/slack.py", "from local.aws import LocalAws", "may not import local.aws.LocalAws"),
        ("chalicelib/aws/clients.py", "import tests.fakes", "may not import tests.fakes"),
        ("chalicelib/settings.py", "import deployment", "may not import deployment"),
        ("app.py", "from chalicelib.aws import clients", "may not import chalicelib.aws.clients"),
        ("chalicelib/extra/module.py", "", "belongs to no layer"),
        ("chalicelib/aws/clients.py", "import os\nA = os.environ['A']", "may not use os.environ"),
        ("chalicelib/slack/blocks.py", "from os import getenv as g", "may not use os.getenv"),
        (
            "chalicelib/domain/orders.py",
            "import datetime as d\nA = d.datetime.now",
            "may not use datetime.datetime.now",
        ),
        (
            "chalicelib/domain/tunnels.py",
            "from datetime import date as day\ndef f(): return day.today()",
            "may not use datetime.date.today",
        ),
        ("chalicelib/aws/table.py", "import time\ndef f(): return time.time()", "may not use time.time"),
        ("chalicelib/settings.py", "from time import time_ns", "may not use time.time_ns"),
        ("chalicelib/workflow/ask_end.py", "import importlib", "may not use importlib"),
        ("chalicelib/workflow/ask_end.py", "A = __import__('boto3')", "may not use builtins.__import__"),
    ],
)
def test_a_deliberate_break_is_named(tmp_path: Path, file: str, code: str, violation: str) -> None:
    """The rules above can fail: a break in a copy of the tree is found, and nothing else is."""
    shutil.copytree(ROOT / OURS, tmp_path / OURS, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", tmp_path)
    broken = tmp_path / file
    broken.parent.mkdir(exist_ok=True)
    with broken.open("a") as module:
        module.write(f"\n{code}\n")

    assert {(file, violation)} == {(found, reason) for found, _, reason in _violations(tmp_path)}


def test_the_monotonic_clock_is_free_for_all(tmp_path: Path) -> None:
    """Measuring how long something takes is no reading of the time of day."""
    (tmp_path / "app.py").write_text("from time import monotonic\nimport time\nA = time.monotonic\n")

    assert [] == _violations(tmp_path)


def _violations(root: Path) -> list[tuple[str, int, str]]:
    """File, line and reason of each broken rule in the tree below ``root``."""
    return [
        (str(file.relative_to(root)), line, reason)
        for file in [root / "app.py", *(root / OURS).rglob("*.py")]
        for line, reason in _broken_rules(str(file.relative_to(root)), file.read_text())
    ]


@cache
def _broken_rules(file: str, code: str) -> tuple[tuple[int, str], ...]:
    """Kept, since the copies of the tree differ from it by a line."""
    return tuple(_found_broken(file, ast.parse(code)))


def _found_broken(file: str, module: ast.Module) -> Iterator[tuple[int, str]]:
    layer = LAYERS.get(Path(file.removeprefix(f"{OURS}/")).with_suffix("").parts[0])
    if layer is None:
        yield 1, "belongs to no layer"
        return
    imports = list(_imports(file, module))
    for line, _, name in imports:
        if not _may_import(layer, name):
            yield line, f"may not import {name}"
    for line, name in _used_names(module, imports):
        for place, names in ONE_PLACE.items():
            for held in names:
                if file != place and f"{name}.".startswith(f"{held}."):
                    yield line, f"may not use {held}"


def _may_import(layer: Layer, name: str) -> bool:
    package, _, rest = name.partition(".")
    if package == OURS:
        return rest.partition(".")[0] in layer.parts
    return package in sys.stdlib_module_names or package in layer.vendors


def _imports(file: str, module: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, the name that is bound and the full dotted name of everything that is imported, wherever it stands."""
    package = list(Path(file).parent.parts)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.asname or "", alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, f"{source}.{alias.name}"


def _used_names(module: ast.Module, imports: Collection[tuple[int, str, str]]) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported and of every attribute taken from it."""
    bound = {"__import__": "builtins.__import__"}
    for line, local_name, name in imports:
        yield line, name
        top = name.partition(".")[0]
        bound |= {local_name: name} if local_name else {top: top}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute | ast.Name):
            root, _, rest = ast.unparse(node).partition(".")
            if root in bound:
                yield node.lineno, f"{bound[root]}.{rest}" if rest else bound[root]
