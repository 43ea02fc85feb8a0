"""Templates for tests: what Chalice makes of this very app, its settings and its merge file, completed for a catalogue."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from chalice.config import Config
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.deployer import BaseDeployStep, BuildStage, InjectDefaults, PolicyGenerator, SwaggerBuilder
from chalice.deploy.models import DeploymentPackage
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.package import PackageOptions, ResourceBuilder, SAMTemplateGenerator, TemplateDeepMerger
from chalice.policy import AppPolicyGenerator
from chalice.utils import OSUtils

import app
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue
from deployment.template import complete_template

ROOT = Path(__file__).parents[2]
STAGE = "example"
DEFINITION = json.loads((ROOT / "statemachines" / "access_request.asl.json").read_text(encoding="utf-8"))
CONFIGURATION = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))
EXAMPLE = (ROOT / "docs" / "catalogue.toml").read_text(encoding="utf-8")

Template = dict[str, Any]


class _NoArchive(BaseDeployStep):
    """The template names the archive; nothing needs to be in it."""

    def handle_deploymentpackage(self, config: Config, resource: DeploymentPackage) -> None:
        resource.filename = "./deployment.zip"


class _ServiceNames:
    """What Chalice asks of AWS while it writes a template."""

    region_name = "eu-west-1"

    def endpoint_dns_suffix(self, service: str, region: str) -> str:
        return "amazonaws.com"

    def service_principal(self, service: str, region: str = "", url_suffix: str = "") -> str:
        return f"{service}.amazonaws.com"


@cache
def _generated() -> Template:
    stage = next(iter(CONFIGURATION["stages"]))
    config = Config(
        chalice_stage=stage,
        user_provided_params={"project_dir": str(ROOT), "chalice_app": app.app},
        config_from_disk=CONFIGURATION,
    )
    osutils = OSUtils()
    steps = [
        InjectDefaults(),
        _NoArchive(),
        PolicyGenerator(policy_gen=AppPolicyGenerator(osutils=osutils), osutils=osutils),
        SwaggerBuilder(swagger_generator=CFNSwaggerGenerator()),
    ]
    builder = ResourceBuilder(ApplicationGraphBuilder(), DependencyBuilder(), BuildStage(steps=steps))
    template = SAMTemplateGenerator(config, PackageOptions(cast("Any", _ServiceNames()))).generate(
        builder.construct_resources(config, stage)
    )
    merge = yaml.safe_load((ROOT / ".chalice" / "resources.yaml").read_text(encoding="utf-8"))
    merged: Template = TemplateDeepMerger().merge(merge, template)
    return merged


def generated() -> Template:
    """What `chalice package` with the merge file makes, a copy of its own for each test."""
    return copy.deepcopy(_generated())


def example_catalogue() -> Catalogue:
    """The catalogue that the documentation shows."""
    return load_catalogue(EXAMPLE, file="docs/catalogue.toml")


def completed(catalogue: Catalogue | None = None, *, stage: str = STAGE) -> Template:
    """The template of a stage with this catalogue, or the documentation's."""
    return complete_template(
        generated(), stage=stage, catalogue=catalogue or example_catalogue(), definition=DEFINITION
    )
