"""The stack of a provisioner in another VPC: the same database functions under other names, and what its bastions need.

The workflow, the ledger and everything that decides stay in the main stack.
"""

import copy
from typing import Any

from chalicelib.domain.catalogue import Catalogue
from deployment.bastion_network import network_conditions, network_of, network_resources
from deployment.databases import databases_of
from deployment.parts import Template, add
from deployment.references import conditions, references
from deployment.template import DATABASE_FUNCTIONS, database_parameters, finished, place_database_functions


def spoke_template(complete: Template, *, stage: str, provisioner: str, catalogue: Catalogue) -> Template:
    """The SAM template of ``drawbridge-<stage>-<provisioner>``, cut from the main stack's complete one. Raises CatalogueError."""
    network = network_of(catalogue, provisioner)
    everywhere = databases_of(catalogue.locations.values())
    elsewhere = [database.resource_id for database in everywhere if database not in network.functions.databases]
    resources: Template = {
        name: _without_rights_on(elsewhere, copy.deepcopy(complete["Resources"][name]))
        for function in DATABASE_FUNCTIONS
        for name in (function, f"{function}Role", f"{function}LogGroup", f"{function}NeedsAttention")
    }
    for function in DATABASE_FUNCTIONS:
        log = {"Fn::Sub": f"/drawbridge/${{Stage}}/{provisioner}/{function}"}
        resources[f"{function}LogGroup"]["Properties"]["LogGroupName"] = log
    place_database_functions(resources, network)
    add(resources, network_resources(network))
    template = {
        "AWSTemplateFormatVersion": complete["AWSTemplateFormatVersion"],
        "Transform": complete["Transform"],
        "Description": f"Drawbridge, stage {stage}: database functions and bastions of {provisioner}.",
        "Parameters": copy.deepcopy(complete["Parameters"]) | database_parameters(network.functions.databases),
        "Conditions": _used({**complete["Conditions"], **network_conditions(network)}, resources),
        "Resources": resources,
        "Outputs": {},
    }
    return finished(template, stage=stage, vpc=network.vpc)


def _used(those: Template, resources: Template) -> Template:
    """The conditions that resources depend on, and those that these are made of."""
    names = conditions(resources)
    while more := conditions([those[name] for name in names]) - names:
        names |= more
    return {name: condition for name, condition in those.items() if name in names}


def _without_rights_on(parameters: list[str], value: Any) -> Any:
    """Without what names one of these parameters: the rights on databases that this VPC's functions have no business with."""
    if isinstance(value, dict):
        return {key: _without_rights_on(parameters, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [
            _without_rights_on(parameters, each) for each in value if not references(_only_sub(each)) & set(parameters)
        ]
    return value


def _only_sub(value: Any) -> Any:
    return value if isinstance(value, dict) and set(value) == {"Fn::Sub"} else None
