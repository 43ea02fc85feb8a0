"""The terminal client is a house of its own, and its guide says what it does."""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from drawbridge import errors
from drawbridge.program import drawbridge
from drawbridge.settings import SETTINGS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CLIENT = sorted((ROOT / "drawbridge").rglob("*.py"))
VENDORS = {"boto3", "botocore", "click"}
"""What people install along with it."""


def test_the_client_imports_nothing_but_itself_and_what_people_install() -> None:
    """Nothing of the control plane, its stand-ins or its operator's program gets onto people's machines."""
    found = {(str(file.relative_to(ROOT)), name) for file in CLIENT for name in _imports(file)}

    assert set() == {
        (file, name) for file, name in found if name not in {*sys.stdlib_module_names, *VENDORS, "drawbridge"}
    }


@pytest.mark.parametrize("part", ["chalicelib", "deployment", "local"])
def test_nothing_of_the_control_plane_imports_the_client(part: str) -> None:
    """The two share an API and no code."""
    files = [*(ROOT / part).rglob("*.py"), ROOT / "app.py"]

    assert [] == [str(file) for file in files if "drawbridge" in _imports(file)]


def test_people_install_what_the_client_imports() -> None:
    """botocore comes with boto3."""
    installed = {re.split(r"[^a-z0-9]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}

    assert VENDORS == installed | {"botocore"}


def test_every_package_of_the_client_is_installed() -> None:
    """A folder that is forgotten would be missed only after the installation."""
    packages = {".".join(file.relative_to(ROOT).parent.parts) for file in CLIENT}

    assert packages == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_drawing_of_errors_is_the_tree_of_errors() -> None:
    """By name and exit status."""
    drawn = {name: int(status) for name, status in re.findall(r"(\w+Error) +(\d+)  ", str(errors.__doc__))}
    built = {name: each.exit_status for name, each in inspect.getmembers(errors, inspect.isclass)}

    assert built == drawn


def test_the_guide_has_every_exit_status() -> None:
    """Nobody has to read code to know what a script should look for."""
    rows = re.findall(r"^\| ([\d, ]+) \|", _section("statuses"), flags=re.MULTILINE)
    listed = {int(status) for row in rows for status in row.split(",")}
    raised = {each.exit_status for _, each in inspect.getmembers(errors, inspect.isclass)}

    assert raised | {0, 126, 127} == listed


def test_the_guide_has_every_command() -> None:
    """In the order in which the program lists them."""
    listed = re.findall(r"^\| `drawbridge (\w+)", _section("commands"), flags=re.MULTILINE)

    assert drawbridge.list_commands(click.Context(drawbridge)) == listed


@pytest.mark.parametrize("name", ["connect", "run"])
def test_the_guide_has_every_option(name: str) -> None:
    """Of the two commands that have many."""
    command = drawbridge.get_command(click.Context(drawbridge), name)
    assert command is not None
    options = {
        option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts
    }

    assert set() == {option for option in options if f"`{option}`" not in GUIDE and f" {option}\n" not in GUIDE}


def test_the_guide_has_every_setting() -> None:
    """Those that can be saved."""
    assert all(f"`{name}`" in GUIDE for name in SETTINGS)


def _section(name: str) -> str:
    return GUIDE.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]


def _imports(file: Path) -> Iterator[str]:
    """The top-level names of what a file imports, wherever it stands; its own package's are absolute."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield str(node.module).partition(".")[0]
