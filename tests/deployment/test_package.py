"""What is in the package of the example."""

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import app
from deployment.package import Package, translate
from local.functions import environment
from tests.deployment.conftest import CERTIFICATES, ROOT, build_example, copy_checkout

MEGABYTE = 1_000_000
AARCH64 = 183
UNCHECKED_HASH = 1
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def modules(task: Path) -> list[Path]:
    return sorted(task.rglob("*.py"))


def functions(example: Package) -> dict[str, dict]:
    resources = example.stack["Resources"].items()
    return {name: each["Properties"] for name, each in resources if each["Type"] == "AWS::Lambda::Function"}


def test_our_code_is_packed_as_it_is_and_nothing_of_the_workshop(task: Path) -> None:
    """Neither caches, nor tests, nor what builds, nor what stands in for the world."""
    packed = {file.relative_to(task) for file in modules(task)}

    assert {file.relative_to(ROOT) for file in (ROOT / "chalicelib").rglob("*.py")} <= packed
    assert (ROOT / "app.py").read_bytes() == (task / "app.py").read_bytes()
    assert set() == {".chalice", "build", "deployment", "docs", "local", "statemachines", "tests"} & {
        each.name for each in task.iterdir()
    }


def test_the_catalogue_and_the_certificates_lie_where_the_settings_look_for_them(task: Path) -> None:
    """Beside the code: the catalogue's tables, and the certificates byte for byte."""
    written = tomllib.loads((ROOT / "docs" / "catalogue.toml").read_text())

    assert written == json.loads((task / "chalicelib" / "catalogue.json").read_text())
    assert CERTIFICATES.read_bytes() == (task / "chalicelib" / "rds-global-bundle.pem").read_bytes()


@pytest.mark.parametrize(
    "name", ["boto3", "botocore", "s3transfer", "pip", "setuptools", "click", "inquirer", "slack", "bin"]
)
def test_what_the_runtime_brings_and_what_only_builds_is_not_packed(name: str, task: Path) -> None:
    """Each would cost size and a longer cold start, and more to watch for security."""
    assert not [*task.glob(name), *task.glob(f"{name}-*.dist-info"), *task.glob(f"{name}.py")]


def test_of_chalice_only_what_runs_is_packed(task: Path) -> None:
    """Its command line is most of it."""
    assert {"__init__.py", "app.py"} == {file.name for file in (task / "chalice").glob("*.*")}


def test_neither_stubs_nor_tests_nor_notes_of_installing_are_packed(task: Path) -> None:
    """The notes name the machine that packed, and would make every package another."""
    useless = {"*.pyi", "tests", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json", ".lock"}

    assert [] == [file for pattern in useless for file in task.rglob(pattern)]


def test_every_dependency_keeps_its_licence(task: Path) -> None:
    """What is handed on must be handed on with it."""
    assert [] == [each.name for each in task.glob("*.dist-info") if not [*each.rglob("*LICENSE*")]]


def test_every_module_is_compiled_for_this_python_to_be_loaded_unchecked_from_where_it_will_lie(task: Path) -> None:
    """Else every cold start would compile again, for the folder cannot be written to there."""
    for module in modules(task):
        compiled = Path(importlib.util.cache_from_source(str(module))).read_bytes()

        assert importlib.util.MAGIC_NUMBER == compiled[:4]
        assert UNCHECKED_HASH == int.from_bytes(compiled[4:8], "little")
        assert f"/var/task/{module.relative_to(task)}" == marshal.loads(compiled[16:]).co_filename


def test_every_native_library_is_for_the_machine_that_runs_it(task: Path) -> None:
    """Whatever machine packs."""
    heads = {file.name: file.read_bytes()[:20] for file in task.rglob("*.so*")}

    assert {AARCH64} == {int.from_bytes(head[18:20], "little") for head in heads.values()}
    assert {b"\x7fELF"} == {head[:4] for head in heads.values()}


def test_the_same_checkout_gives_the_same_bytes_wherever_it_lies(example: Package, tmp_path: Path) -> None:
    """Under another path, with other dates and rights, and with certificates that an earlier build has kept."""
    root = copy_checkout(tmp_path / "somewhere else" / "deeper", source=example.directory.parents[1])
    (root / "build").mkdir()
    (root / "build" / "rds-global-bundle.pem").write_bytes(CERTIFICATES.read_bytes())
    for file in (root / "chalicelib").rglob("*.*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    before = os.umask(0o077)
    try:
        again = build_example(root, certificates=None)
    finally:
        os.umask(before)

    assert "" == again.missing_certificates
    assert example.archive_sha256 == again.archive_sha256
    assert (example.stack, example.spokes) == (again.stack, again.spokes)


def test_the_verb_builds_checks_and_says_what_came_of_it(example: Package, tmp_path: Path) -> None:
    """In a process of its own, whose package is the same again."""
    root = copy_checkout(tmp_path, source=example.directory.parents[1])
    shutil.copytree(ROOT / "deployment", root / "deployment")
    (root / ".venv-checkov").symlink_to(ROOT / ".venv-checkov")
    command = [
        sys.executable,
        "-B",
        "-m",
        "deployment",
        "package",
        "--stage",
        "example",
        "--certificates",
        CERTIFICATES,
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert f"SHA-256 is {example.archive_sha256}. The templates are without a flaw." in done.stdout
    assert "build/example/stack.json" in done.stdout
    assert "cannot be deployed" not in done.stdout


def test_everybody_may_read_what_is_packed(example: Package) -> None:
    """The runtime is not its owner."""
    with zipfile.ZipFile(example.archive) as archive:
        assert {0o100644} == {entry.external_attr >> 16 for entry in archive.infolist()}


def test_the_package_is_small(example: Package) -> None:
    """Each cold start on a new machine fetches it."""
    assert 9 * MEGABYTE > example.archive.stat().st_size


def test_the_stack_has_exactly_the_functions_of_the_app(example: Package) -> None:
    """Each with the handler that the app registers."""
    listed = [*app.app.pure_lambda_functions, *app.app.event_sources]
    expected = {each.name.title().replace("_", ""): each.handler_string for each in listed}

    assert expected | {"APIHandler": "app.app"} == {name: each["Handler"] for name, each in functions(example).items()}


def test_every_route_but_slack_s_is_signed(example: Package) -> None:
    """As API Gateway is told it, and there under the stage that people's policy names."""
    api = example.stack["Resources"]["RestAPI"]["Properties"]["Body"]
    methods = {(path, method): said for path, each in api["paths"].items() for method, said in each.items()}
    unsigned = {place for place, said in methods.items() if said.get("security") != [{"sigv4": []}]}
    policy = example.stack["Resources"]["UserPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (stage,) = (each for each in example.stack["Resources"].values() if each["Type"] == "AWS::ApiGateway::Stage")

    assert {("/slack/events", "post")} == unsigned
    assert "awsSigv4" == api["securityDefinitions"]["sigv4"]["x-amazon-apigateway-authtype"]
    assert f"${{RestAPI}}/{stage['Properties']['StageName']}/*/v1/*" in str(policy)


def test_every_function_runs_the_python_that_compiled_it(example: Package) -> None:
    """On arm64, all from one archive."""
    found = {
        (each["Runtime"], *each["Architectures"], json.dumps(each["Code"])) for each in functions(example).values()
    }

    code = {"S3Bucket": {"Ref": "ArtifactBucket"}, "S3Key": {"Ref": "ArtifactKey"}}
    assert {(f"python{PYTHON}", "arm64", json.dumps(code))} == found


def test_the_stack_is_plain_cloudformation_as_it_was_written(example: Package) -> None:
    """AWS is asked to run no macro, and the file is what was checked."""
    assert example.stack == json.loads((example.directory / "stack.json").read_text())
    assert "Transform" not in example.stack
    assert "AWS::Serverless" not in json.dumps(example.stack)


def test_the_template_is_the_same_in_every_region(example: Package) -> None:
    """Whoever packages may be somewhere else than what is deployed."""
    sam = json.loads((example.directory / "template.json").read_text())

    with environment({"AWS_REGION": "us-east-1"}):
        assert example.stack == translate(sam)


def test_the_stage_is_named_by_whoever_packages(example: Package) -> None:
    """The checkout's configuration names one, and it does not matter which."""
    tags = {tag["Value"] for tag in functions(example)["APIHandler"]["Tags"] if tag["Key"] == "aws-chalice"}

    assert {True} == {":stage=example:" in tag for tag in tags}
