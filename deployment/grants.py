"""The grants of a stage, read from its ledger: what a deployment must not strand, and what a destruction has to end first."""

from collections.abc import Sequence

from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.table import Table
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import LedgerUnavailableError
from chalicelib.domain.grants import Grant, GrantFacts
from deployment.account import Account, DeploymentError
from deployment.stacks import Stack

LEDGER = "Ledger"


def find_table(stack: Stack | None) -> str | None:
    """The name of the stage's table; None when it has none (yet, or any more)."""
    return stack.find_physical(LEDGER) if stack else None


def open_grants(account: Account, table: str) -> Sequence[Grant]:
    """Every grant that is not gone, soonest end first. Raises DeploymentError."""
    try:
        return DynamoGrantLedger(Table(account.client("dynamodb"), table)).open_grants()
    except LedgerUnavailableError as error:
        raise DeploymentError(
            f"The ledger {table} cannot be read, so nobody knows whether somebody holds access ({error}). "
            "Your AWS identity needs dynamodb:Query on it and on its index. Nothing was changed."
        ) from error


def refuse_to_strand(grants: Sequence[Grant], catalogue: Catalogue) -> None:
    """A live grant is revoked by what was frozen in it, through what stands now. Raises DeploymentError, naming each."""
    stranded = [f"{describe(grant)}: {why}" for grant in grants if (why := _find_hindrance(grant.facts, catalogue))]
    if stranded:
        raise DeploymentError(
            "This catalogue takes away what live access needs to be ended:\n  "
            + "\n  ".join(stranded)
            + "\nWait for its end, or have the holder press End Now, then deploy again. Nothing was changed."
        )


def describe(grant: Grant) -> str:
    """A grant in one line."""
    facts = grant.facts
    return (
        f"{facts.request_id}: {facts.person.name}, {facts.level} on {facts.location}, {grant.state}, "
        f"until {grant.ends_at:%Y-%m-%d %H:%M} UTC"
    )


def _find_hindrance(facts: GrantFacts, catalogue: Catalogue) -> str:
    location = catalogue.locations.get(facts.location)
    if location is None:
        return f"the location {facts.location} is removed or renamed"
    frozen = (facts.kind, facts.identifier, facts.database, facts.region)
    if frozen != (location.kind, location.identifier, location.database, location.region):
        return f"the location {facts.location} is moved from {facts.identifier}/{facts.database} to another database"
    if facts.bastion != location.bastion.name or facts.provisioner != location.bastion.provisioner:
        return f"the location {facts.location} is moved to another bastion"
    return ""
