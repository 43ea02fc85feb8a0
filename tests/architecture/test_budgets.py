"""What may grow and how far: the files that stand in for the world, and the top level of the repository."""

from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BUDGETS = {
    "the front of AWS, with lock, functions, API, ticker and EC2 delays": (
        400,
        {"local/aws.py", "local/lambdas.py", "local/api_gateway.py", "local/ticker.py", "local/ec2_delays.py"},
    ),
    "whose calls they are": (150, {"local/aws_calls.py", "local/identities.py"}),
    "the signatures of callers": (125, {"local/signatures.py"}),
    "the strictness of Step Functions": (100, {"local/strict_asl.py"}),
    "the haste of moto": (95, {"local/quick_moto.py"}),
    "the SSM server and its protocol": (450, {"local/ssm/server.py", "local/ssm/channel.py", "local/ssm/protocol.py"}),
    "the Session documents": (80, {"local/ssm/documents.py"}),
    "the plugin": (110, {"local/session_manager_plugin.py"}),
    "the PostgreSQL runner and the roles of RDS": (140, {"local/postgres.py"}),
    "the IAM proxy": (200, {"local/iam_proxy.py"}),
    "the Slack workspace, its API and its door": (
        670,
        {"local/slack/api.py", "local/slack/methods.py", "local/slack/team.py", "local/slack/web.py"},
    ),
    "the Slack page": (
        650,
        {"local/slack/page/index.html", "local/slack/page/page.css", "local/slack/page/page.js"},
    ),
    "the block checker": (180, {"local/slack/block_checker.py"}),
    "what is behind": (90, {"local/behind.py"}),
    "the workspace and its seed": (260, {"local/workspace.py", "local/seed.py"}),
    "what the stack makes": (60, {"local/stack.py"}),
    "the process of the functions": (70, {"local/functions.py"}),
    "what people's computers and pipelines have": (45, {"local/shells.py"}),
    "the story": (200, {"local/story.py"}),
}
"""Non-blank lines. A stand-in that outgrows its row loses a feature, not its strictness (docs/adr/0008)."""

COMMAND_LINE = {"local/__main__.py", "local/remote.py", "local/terminal.py"}
"""Stands in for nothing."""

TOP_LEVEL = {
    ".chalice",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Makefile",
    "README.md",
    "app.py",
    "benchmarks",
    "chalicelib",
    "deployment",
    "docs",
    "drawbridge",
    "local",
    "pyproject.toml",
    "requirements.txt",
    "statemachines",
    "tests",
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_stand_in_keeps_to_its_budget(name: str) -> None:
    """Stand-ins must stay small enough to be read beside the vendor's own description."""
    budget, files = BUDGETS[name]

    assert budget >= sum(_lines(ROOT / file) for file in files if (ROOT / file).exists())


def test_every_file_of_a_stand_in_has_a_budget() -> None:
    """A new file belongs to a row of the table; a row holds no file that is gone."""
    budgeted = {file for _, files in BUDGETS.values() for file in files}

    assert set() == (budgeted | COMMAND_LINE) ^ {str(file.relative_to(ROOT)) for file in _source_files(ROOT / "local")}


def test_the_top_level_holds_only_what_was_agreed() -> None:
    """Whoever opens the repository sees the whole house at once. What Git ignores is nobody's business."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}

    assert set() == {entry.name for entry in ROOT.iterdir()} - TOP_LEVEL - ignored - {".git"}


def _source_files(folder: Path) -> Collection[Path]:
    """Everything with lines in it that somebody wrote: no empty files, compiled ones or pins."""
    written = {".py", ".html", ".js", ".css"}
    return [file for file in folder.rglob("*") if file.suffix in written and _lines(file)]


def _lines(file: Path) -> int:
    return sum(1 for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
