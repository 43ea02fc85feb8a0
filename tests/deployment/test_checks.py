"""Each judge of the templates: silent about ours, and not about one with a flaw."""

import json
from pathlib import Path
from typing import Any

import pytest

from deployment.checks import Flaw, find_flaws, judge_by_our_rules, lint, scan
from deployment.package import Package, check_package
from deployment.programs import PackagingError
from local.functions import environment
from tests.deployment.conftest import build_example, copy_checkout

OPEN_TO_THE_WORLD = {
    "Type": "AWS::EC2::SecurityGroup",
    "Properties": {
        "GroupDescription": "for a test",
        "SecurityGroupIngress": [
            {"Description": "everybody", "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
        ],
    },
}
NO_SUCH_PROPERTY = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayNaem": "for a test"}}
SKIPPED_WITHOUT_A_REASON = {
    "Type": "AWS::SNS::Topic",
    "Metadata": {"checkov": {"skip": [{"id": "CKV_AWS_26"}]}},
}


A_SECOND_VPC = """
[bastions.far]
subnets = ["subnet-far"]
vpc = "vpc-0fedcba9876543210"
provisioner = "far"

[locations.far]
instance = "far-database"
database = "stock"
region = "eu-west-1"
environment = "prod"
bastion = "far"
port = 56790

[locations.far.levels]
r = { who = "*", automatic = true }
"""


@pytest.fixture(scope="module")
def widespread(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The example with one more location, whose database is in another VPC."""
    root = copy_checkout(tmp_path_factory.mktemp("checkout"))
    with (root / "docs" / "catalogue.toml").open("a") as catalogue:
        catalogue.write(A_SECOND_VPC)
    return build_example(root)


def a_template(folder: Path, **resources: Any) -> Path:
    file = folder / "stack.json"
    file.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    return file


def rules(flaws: list[Flaw]) -> set[tuple[str, str]]:
    return {(flaw.rule, flaw.place) for flaw in flaws}


def test_the_judges_hold_nothing_against_our_templates(widespread: Package) -> None:
    """As the first is written, as AWS takes it, and the one of another VPC, which is for a stack of its own."""
    *_, spoke = widespread.templates

    assert widespread.spokes == {"far": json.loads(spoke.read_text())}
    assert [] == list(map(str, find_flaws(widespread.templates)))


def test_cfn_lint_finds_what_cloudformation_would_refuse(tmp_path: Path) -> None:
    """With the place, for whoever has to mend it."""
    (flaw,) = lint([a_template(tmp_path, Topic=NO_SUCH_PROPERTY)])

    assert ("cfn-lint", "stack.json", "Resources/Topic/Properties/DisplayNaem") == (flaw.judge, flaw.file, flaw.place)
    assert "DisplayNaem" in str(flaw)


def test_what_somebody_has_cfn_lint_ignore_elsewhere_is_not_ignored_here(tmp_path: Path) -> None:
    """A package is as good on one machine as on another."""
    (tmp_path / ".cfnlintrc").write_text("ignore_checks: [E, W]\n")
    folder = tmp_path / "package"
    folder.mkdir()

    with environment({"HOME": str(tmp_path)}):
        assert 1 == len(lint([a_template(folder, Topic=NO_SUCH_PROPERTY)]))


def test_checkov_finds_what_is_not_safe_and_what_is_skipped_without_a_reason(tmp_path: Path) -> None:
    """A skipped check is a decision, and needs words."""
    flaws = scan([a_template(tmp_path, Open=OPEN_TO_THE_WORLD, Topic=SKIPPED_WITHOUT_A_REASON)])

    assert {("CKV_AWS_24", "AWS::EC2::SecurityGroup.Open"), ("CKV_AWS_26", "AWS::SNS::Topic.Topic")} == rules(flaws)


def test_checkov_does_not_pass_over_what_it_cannot_read(tmp_path: Path) -> None:
    """It would print that it found nothing."""
    broken = tmp_path / "stack.json"
    broken.write_text('{"Resources": ')

    (flaw,) = scan([broken])

    assert ("stack.json", "cannot be read") == (flaw.file, flaw.message)


def test_checkov_is_not_believed_when_it_looked_at_nothing(tmp_path: Path) -> None:
    """It would print that nothing is wrong."""
    with pytest.raises(PackagingError, match=r"found no resource in stack\.json"):
        scan([a_template(tmp_path)])


def test_a_missing_checkov_is_named_with_what_brings_it(tmp_path: Path) -> None:
    """Packaging without it would be packaging unchecked."""
    with pytest.raises(PackagingError, match=r"make package"):
        scan([a_template(tmp_path)], checkov=tmp_path / "checkov")


def test_our_own_rules_find_a_way_in(tmp_path: Path) -> None:
    """Nothing of ours is ever connected to."""
    (flaw, *_) = judge_by_our_rules(a_template(tmp_path, Open=OPEN_TO_THE_WORLD))

    assert ("own rule", "stack.json") == (flaw.judge, flaw.file)


def test_a_package_with_a_flaw_is_refused_with_all_of_them(widespread: Package, tmp_path: Path) -> None:
    """Each on a line of its own, and how many there are."""
    file = a_template(tmp_path, Open=OPEN_TO_THE_WORLD, Topic=NO_SUCH_PROPERTY)
    (tmp_path / "template.json").write_text(file.read_text())
    flawed = Package(
        **{name: getattr(widespread, name) for name in ("stage", "catalogue", "archive", "archive_sha256", "stack")},
        directory=tmp_path,
        spokes={},
        missing_certificates="",
    )

    with pytest.raises(PackagingError) as refused:
        check_package(flawed, say=print)

    *lines, _ = str(refused.value).splitlines()
    assert {True} == {any(f"[{judge}" in line for line in lines) for judge in ("cfn-lint", "checkov", "own rule")}
    assert str(refused.value).endswith(f"{len(lines)} to correct in the templates. Nothing was deployed.")
