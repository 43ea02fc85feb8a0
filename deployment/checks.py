"""What three judges hold against a package's templates: cfn-lint, checkov, our own rules. Offline; none is asked to be lenient.

A check of checkov is skipped only in a resource's ``Metadata``, with a comment that says why.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment.programs import PackagingError, find_program, run_program
from deployment.rules import broken_rules

ROOT = Path(__file__).parents[1]
_CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
"""It pins an older boto3 than ours, so it has an environment of its own and is run as a program."""
_CFN_LINT_FOUND = frozenset({0, 2, 4, 6, 8, 10, 12, 14})
_CHECKOV_FOUND = frozenset({0, 1})
_LENIENCE = ("AWS_", "BC_", "CFN_LINT", "CHECKOV", "CKV_", "PYTHON")
"""Variables by which somebody's machine could have a judge pass over something."""
_NO_COMMENT = "No comment provided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something that a judge holds against a template."""

    judge: str
    file: str
    rule: str
    place: str
    message: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.file}: {self.place}: {self.message} [{' '.join(filter(None, (self.judge, self.rule)))}]"


def find_flaws(templates: Sequence[Path], *, checkov: Path = _CHECKOV) -> list[Flaw]:
    """What all judges hold against these templates: the first is SAM's, the others CloudFormation's. Raises PackagingError."""
    with ThreadPoolExecutor() as pool:
        judged = pool.map(lambda judge: judge(), (lambda: lint(templates), lambda: scan(templates, checkov=checkov)))
        ours = [flaw for file in templates[1:] for flaw in judge_by_our_rules(file)]
        return [*(flaw for flaws in judged for flaw in flaws), *ours]


def lint(templates: Sequence[Path]) -> list[Flaw]:
    """What cfn-lint finds, at every level that it reports unasked. Raises PackagingError."""
    folder = templates[0].parent
    answer = run_program(
        [find_program("cfn-lint"), "--format", "json", "--", *(file.name for file in templates)],
        cwd=folder,
        without=_LENIENCE,
        environment={"HOME": str(folder)},  # both read settings from there too
        statuses=_CFN_LINT_FOUND,
    )
    return [
        Flaw(
            judge="cfn-lint",
            file=Path(found["Filename"]).name,
            rule=found["Rule"]["Id"],
            place="/".join(map(str, found["Location"]["Path"] or []))
            or f"line {found['Location']['Start']['LineNumber']}",
            message=found["Message"],
        )
        for found in json.loads(answer)
    ]


def scan(templates: Sequence[Path], *, checkov: Path = _CHECKOV) -> list[Flaw]:
    """What checkov fails, what it skips without being told why, and files that it cannot read. Raises PackagingError."""
    if not checkov.exists():
        raise PackagingError(
            f"{checkov} does not exist. `make package` and `make deploy` install it; by hand: python -m venv .venv-checkov && "
            ".venv-checkov/bin/pip install --require-hashes --requirement deployment/checkov-requirements.txt"
        )
    folder = templates[0].parent
    answer = run_program(
        [
            *(checkov, "--framework", "cloudformation", "--skip-download", "--compact", "--output", "json"),
            *(part for file in templates for part in ("--file", file.name)),
        ],
        cwd=folder,
        without=_LENIENCE,
        environment={"HOME": str(folder)},  # both read settings from there too
        statuses=_CHECKOV_FOUND,
    )
    report = json.loads(answer)
    if "results" not in report:
        raise PackagingError(f"checkov found no resource in {', '.join(file.name for file in templates)}.")
    return [*_held_by_checkov(report["results"])]


def judge_by_our_rules(template: Path) -> list[Flaw]:
    """The rules that this project adds, of which no linter knows."""
    stack = json.loads(template.read_text(encoding="utf-8"))
    return [
        Flaw(judge="own rule", file=template.name, rule="", place="the stack", message=broken)
        for broken in broken_rules(stack)
    ]


def _held_by_checkov(results: dict[str, Any]) -> Iterator[Flaw]:
    for check in results["failed_checks"]:
        yield _checkovs(check, check["check_name"])
    for check in results["skipped_checks"]:
        if check["check_result"].get("suppress_comment", _NO_COMMENT).strip() in {"", _NO_COMMENT}:
            yield _checkovs(check, f"skipped without a reason: {check['check_name']}")
    for file in results["parsing_errors"]:
        yield Flaw(judge="checkov", file=Path(file).name, rule="", place="the file", message="cannot be read")


def _checkovs(check: dict[str, Any], message: str) -> Flaw:
    file = Path(check["file_path"]).name
    return Flaw(judge="checkov", file=file, rule=check["check_id"], place=check["resource"], message=message)
