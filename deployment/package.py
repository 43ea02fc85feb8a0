"""Everything that a deployment puts on AWS, built from a checkout into ``build/<stage>/``. Asks no AWS account."""

import argparse
import copy
import hashlib
import json
import logging
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import SettingsError
from chalicelib.domain.locations import MAIN_PROVISIONER
from deployment import staging
from deployment.catalogue_file import add_locations_argument, packed_catalogue, read_catalogue
from deployment.certificates import ensure_bundle, fetch_bundle, require_certificates
from deployment.checks import find_flaws
from deployment.programs import PackagingError, find_program, require_interpreter, run_program
from deployment.spoke import spoke_template
from deployment.template import complete_template

ROOT = Path(__file__).parents[1]
EXAMPLE_STAGE, EXAMPLE_CATALOGUE = "example", ROOT / "docs" / "catalogue.toml"
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,15}", re.ASCII)
_BUNDLE = "rds-global-bundle.pem"
_REGION = "eu-west-1"
"""Chalice wants one named, and takes nothing from it but the partition."""
_ABOUT = (
    "Build everything that a deployment puts on AWS into build/<stage>/, and have it checked. No AWS account is asked."
)
_GET_CERTIFICATES = "Download it by other means, and name it: CERTIFICATES=FILE with make, else --certificates FILE."

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What was built for one stage."""

    stage: str
    catalogue: Catalogue
    directory: Path
    """``build/<stage>/``: drawbridge.zip, template.json (SAM), stack.json (translated), spoke-<provisioner>.json."""
    archive: Path
    archive_sha256: str
    stack: dict[str, Any]
    """CloudFormation as AWS takes it, plain JSON."""
    spokes: dict[str, dict[str, Any]]
    """The same for each provisioner in another VPC."""
    missing_certificates: str
    """Why this cannot be deployed, or an empty text."""

    @property
    def templates(self) -> list[Path]:
        """Every template as a file: the one that was written, then those that AWS takes."""
        spokes = [self.directory / f"spoke-{provisioner}.json" for provisioner in self.spokes]
        return [self.directory / "template.json", self.directory / "stack.json", *spokes]


def build_package(
    *,
    root: Path = ROOT,
    stage: str,
    catalogue_file: Path,
    certificates: Path | None,
    say: Say,
    fetch: Callable[[], str] = fetch_bundle,
) -> Package:
    """Build from the checkout ``root`` and say each step; certificates that are not given are fetched, once.

    Raises PackagingError, CatalogueError and SettingsError.
    """
    require_interpreter()
    _require_stage_name(stage)
    catalogue = read_catalogue(str(catalogue_file))
    uv = find_program("uv")
    directory = root.resolve() / "build" / stage
    staged, archive = directory / "staged", directory / "drawbridge.zip"
    shutil.rmtree(directory, ignore_errors=True)
    staged.mkdir(parents=True)
    with _timed(say, "found the certificates of RDS"):
        bundle, missing = _find_certificates(certificates, kept=directory.parent / _BUNDLE, fetch=fetch)
    with _timed(say, "staged code and catalogue"):
        staging.stage(root, staged, name=stage, catalogue=packed_catalogue(str(catalogue_file)), certificates=bundle)
    with _timed(say, "made functions, roles and API with Chalice"):
        generated = _run_chalice(staged, stage)
    with _timed(say, "completed and translated the template"):
        definition = json.loads((root / "statemachines" / "access_request.asl.json").read_text(encoding="utf-8"))
        complete = complete_template(generated, stage=stage, catalogue=catalogue, definition=definition)
        stack = translate(complete)
        spokes = {
            each: translate(spoke_template(complete, stage=stage, provisioner=each, catalogue=catalogue))
            for each in sorted({group.provisioner for group in catalogue.bastions.values()} - {MAIN_PROVISIONER})
        }
    with _timed(say, "installed the dependencies for arm64"):
        staging.vendor(root / "requirements.txt", staged, uv=uv, cache=directory.parent / ".uv")
    with _timed(say, "compiled every module"):
        staging.compile_modules(staged)
    with _timed(say, "wrote the archive"):
        staging.write_archive(staged, archive)
    package = Package(
        stage=stage,
        catalogue=catalogue,
        directory=directory,
        archive=archive,
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        stack=stack,
        spokes=spokes,
        missing_certificates=missing,
    )
    for file, template in zip(package.templates, [complete, stack, *spokes.values()], strict=True):
        file.write_text(json.dumps(template, indent=1), encoding="utf-8")
    return package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.description = _ABOUT
    parser.epilog = "Exit status: 0 built and flawless, 1 with what to correct."
    parser.add_argument("--stage", required=True, help="the deployment's name, such as prod")
    add_locations_argument(parser, more=f", and the example's for the stage {EXAMPLE_STAGE}")
    parser.add_argument(
        "--certificates",
        metavar="FILE",
        type=Path,
        help="the RDS certificate bundle; unless it is given, it is fetched once and kept in build/",
    )


def package(given: argparse.Namespace) -> int:
    """Build, check, and say what came of it. Returns the exit status. Raises what those two do."""
    built = build_package(
        stage=given.stage,
        catalogue_file=find_catalogue_file(given.stage, given.locations),
        certificates=given.certificates,
        say=_print,
    )
    check_package(built, say=_print)
    print()
    for file in (built.archive, *built.templates):
        print(f"{file.stat().st_size:>11,} bytes  {os.path.relpath(file)}")
    print(f"\nThe archive's SHA-256 is {built.archive_sha256}. The templates are without a flaw.")
    if built.missing_certificates:
        print(f"\nIt cannot be deployed yet. {built.missing_certificates}")
    return 0


def check_package(package: Package, *, say: Say) -> None:
    """Raises PackagingError with everything that cfn-lint, checkov and our own rules hold against the templates."""
    with _timed(say, "checked the templates with cfn-lint, checkov and our own rules"):
        flaws = find_flaws(package.templates)
    if flaws:
        raise PackagingError(
            "\n".join([*map(str, flaws), f"{len(flaws)} to correct in the templates. Nothing was deployed."])
        )


def find_catalogue_file(stage: str, locations: str) -> Path:
    """The catalogue that was named; only the example has one of its own. Raises SettingsError."""
    _require_stage_name(stage)
    if locations:
        return Path(locations)
    if stage == EXAMPLE_STAGE:
        return EXAMPLE_CATALOGUE
    raise SettingsError(
        f"Which catalogue has the stage {stage}? Copy docs/catalogue.toml to a place outside this folder, write yours, and set "
        "LOCATIONS to it, or give --locations."
    )


def translate(sam: dict[str, Any]) -> dict[str, Any]:
    """The template as CloudFormation without macros: what SAM would make of it on AWS. Raises PackagingError."""
    # A second to import, which every other verb would pay for.
    from boto3.session import Session  # noqa: PLC0415
    from samtranslator.model.exceptions import InvalidDocumentException  # noqa: PLC0415
    from samtranslator.parser.parser import Parser  # noqa: PLC0415
    from samtranslator.translator.arn_generator import ArnGenerator  # noqa: PLC0415
    from samtranslator.translator.translator import Translator  # noqa: PLC0415

    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it laments metrics that nobody collects
    ArnGenerator.BOTO_SESSION_REGION_NAME = _region()
    try:
        translated: dict[str, Any] = Translator({}, Parser(), boto_session=Session(region_name=_region())).translate(
            copy.deepcopy(sam), {}, passthrough_metadata=True
        )
    except InvalidDocumentException as error:
        reasons = "\n".join(cause.message for cause in error.causes)
        raise PackagingError(f"The template cannot be translated:\n{reasons}") from error
    return translated


def _require_stage_name(stage: str) -> None:
    if not stage:
        raise SettingsError("Which stage? Name the deployment: STAGE=prod with make, or --stage prod.")
    if not _STAGE.fullmatch(stage):
        raise SettingsError(
            f"'{stage[:40]}' cannot name a stage: write at most 16 small letters, digits and hyphens, a letter first."
        )


def _find_certificates(given: Path | None, *, kept: Path, fetch: Callable[[], str]) -> tuple[Path | None, str]:
    if given is not None:
        require_certificates(given)
        return given, ""
    missing = ensure_bundle(kept, fetch)
    return (None, f"{missing} {_GET_CERTIFICATES}") if missing else (kept, "")


def _run_chalice(staged: Path, stage: str) -> dict[str, Any]:
    """Chalice's template, with ours merged in; the two files of its runtime are put beside our code."""
    merged = staged / staging.CONFIGURATION / "resources.yaml"
    out = staged / staging.CONFIGURATION / "deployments"
    run_program(
        [find_program("chalice"), "package", "--stage", stage, "--merge-template", merged, out],
        cwd=staged,
        without=("AWS_", "DRAWBRIDGE_", "PYTHON"),
        environment={
            "AWS_DEFAULT_REGION": _region(),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    with zipfile.ZipFile(out / "deployment.zip") as chalices:
        chalices.extractall(staged, [name for name in chalices.namelist() if name.startswith("chalice/")])
    template = yaml.safe_load((out / "sam.yaml").read_text(encoding="utf-8"))
    # Chalice shares equal parts by anchors, and YAML takes the version of a policy for a date. JSON knows neither.
    plain: dict[str, Any] = json.loads(json.dumps(template, default=str))
    return plain


def _print(line: str) -> None:
    print(line, flush=True)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _REGION


@contextmanager
def _timed(say: Say, step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    say(f"{time.perf_counter() - start:5.1f} s  {step}")
