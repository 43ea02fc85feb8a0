"""A stage as it stands: what the operator's catalogue wants, and the stacks that there are."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.locations import MAIN_PROVISIONER
from deployment.account import Account, DeploymentError, find_account
from deployment.catalogue_file import read_catalogue
from deployment.stacks import STAGE_TAG, Stack, Stacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One deployment. ``stacks`` maps each provisioner of the catalogue to its stack, the main one first."""

    name: str
    account: Account
    catalogue_file: str
    catalogue: Catalogue
    stacks: Mapping[str, Stack | None]

    @property
    def main(self) -> Stack | None:
        """The stack that everything but the database functions of other VPCs is in."""
        return self.stacks[MAIN_PROVISIONER]

    @property
    def flags(self) -> str:
        """What names this stage to any verb, ready for a shell."""
        return f"--stage {self.name} {self.locations}"

    @property
    def locations(self) -> str:
        """What names the catalogue to any verb, ready for a shell."""
        return f"--locations {shlex.quote(self.catalogue_file)}"

    @property
    def place(self) -> str:
        """Such as ``account 123456789012, eu-west-1``."""
        return f"account {self.account.number}, {self.account.region}"


def find_stage(name: str, *, catalogue_file: str, stacks: Stacks, account: Account) -> Stage:
    """What there is of a stage. Raises CatalogueError and DeploymentError."""
    catalogue = read_catalogue(catalogue_file)
    others = {group.provisioner for group in catalogue.bastions.values()} - {MAIN_PROVISIONER}
    found = {each: stacks.find(stack_name(name, each)) for each in (MAIN_PROVISIONER, *sorted(others))}
    for stack in filter(None, found.values()):
        if (owner := stack.tags.get(STAGE_TAG, name)) != name:
            raise DeploymentError(
                f"The stack {stack.name} belongs to the stage {owner}, whose catalogue has a provisioner of that name. "
                f"Nothing was done. Choose another name than {name} for this stage, or another provisioner."
            )
    return Stage(name=name, account=account, catalogue_file=catalogue_file, catalogue=catalogue, stacks=found)


def find_home(catalogue: Catalogue) -> Account:
    """The account of whoever asks, in the region of the catalogue's locations. Raises DeploymentError for several regions."""
    regions = sorted({location.region for location in catalogue.locations.values()})
    if len(regions) > 1:
        raise DeploymentError(
            f"The catalogue's locations are in {' and '.join(regions)}, and a stage is in one region. "
            "Write a catalogue for each region, and deploy each as a stage of its own."
        )
    return find_account(regions[0])


def stack_name(stage: str, provisioner: str = MAIN_PROVISIONER) -> str:
    """What the stack of a stage's provisioner is called."""
    return f"drawbridge-{stage}" if provisioner == MAIN_PROVISIONER else f"drawbridge-{stage}-{provisioner}"
