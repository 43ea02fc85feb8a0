"""What people's own AWS identities may do: the policy that the stack makes for everybody, and one person's right to connect.

Both are documents to attach; nothing here attaches them.
"""

import argparse
import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

from chalicelib.aws.clients import client
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.errors import SettingsError
from chalicelib.domain.locations import Location
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import person_role
from chalicelib.domain.session_documents import AWS_DOCUMENT
from deployment.hosting import Hosting, Rds, describe_hosting

API_STAGE = "api"
"""What API Gateway calls the one stage of the API: the first part of its paths."""
_VERSION = "2012-10-17"
_ACCESS_CHECK = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
"""Without it, whoever may reach the instance could start the default document, which is a shell of root's."""


def user_policy(stage: str, *, uses_aws_document: bool = False) -> dict[str, Any]:
    """The managed policy ``DrawbridgeUser``, with CloudFormation's intrinsics: this stage's API and tunnels, no more.

    StartSession is asked about twice, for the instance and for the document: the bastion's tag cannot stand on both. AWS's own
    documents have no account in their ARN; they let the person choose the host, so only a catalogue that uses one allows it.
    """
    documents = [_arn("ssm:${AWS::Region}:${AWS::AccountId}:document/drawbridge-" + stage + "-*")]
    if uses_aws_document:
        documents.append(_arn(f"ssm:${{AWS::Region}}::document/{AWS_DOCUMENT}"))
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Sid": "AskByTheApi",
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": _arn(f"execute-api:${{AWS::Region}}:${{AWS::AccountId}}:${{RestAPI}}/{API_STAGE}/*/v1/*"),
            },
            {
                "Sid": "TunnelToOurBastions",
                "Effect": "Allow",
                "Action": "ssm:StartSession",
                "Resource": _arn("ec2:${AWS::Region}:${AWS::AccountId}:instance/*"),
                "Condition": {"StringEquals": {"ssm:resourceTag/drawbridge:stage": stage}, **_ACCESS_CHECK},
            },
            {
                "Sid": "ByOurDocuments",
                "Effect": "Allow",
                "Action": "ssm:StartSession",
                "Resource": documents,
                "Condition": _ACCESS_CHECK,
            },
            {
                "Sid": "CarryBytes",
                "Effect": "Allow",
                "Action": "ssmmessages:OpenDataChannel",
                "Resource": _arn("ssm:*:${AWS::AccountId}:session/${!aws:userid}-*"),
            },
            {
                "Sid": "OwnSessions",
                "Effect": "Allow",
                "Action": ["ssm:TerminateSession", "ssm:ResumeSession"],
                "Resource": _arn("ssm:*:${AWS::AccountId}:session/*"),
                # AWS tags each session with its owner's id; ARNs hold only the name that a role's session was given.
                "Condition": {"StringLike": {"ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}"}},
            },
        ],
    }


def connect_policy(location: Location, person: Person, hosting: Hosting) -> dict[str, Any]:
    """What a person or a machine needs that signs its own tokens: the right to connect as exactly its users of this location.

    Raises SettingsError for whoever may not ask for any level there.
    """
    rules = location.find_rules(person)
    levels = [level for level in PermissionLevel if level in rules and rules[level].admits(person.name)]
    if not levels:
        place = "Name them in 'who' of a level"
        if person.is_machine:
            place = f"Write its rules under [locations.{location.name}.machines.{person.name}]"
        raise SettingsError(
            f"{person.name} may not ask for any access to {location.name}, so there is no user to connect as. {place} in the "
            "catalogue first."
        )
    roles = [
        person_role(location=location.name, person_id=person.person_id, level=level, name=person.name)
        for level in levels
    ]
    database = hosting.connect_arn.rpartition("/")[0]
    resources = [f"{database}/{role}" for role in roles]
    statement = {"Sid": "ConnectAsOneself", "Effect": "Allow", "Action": "rds-db:connect", "Resource": resources}
    return {"Version": _VERSION, "Statement": [statement]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Beside the location's name."""
    parser.add_argument("person", metavar="PERSON", help="the person's or the machine's name in the catalogue")


def print_policy(location: Location, person: str, *, catalogue: Catalogue, rds: Rds | None = None) -> int:
    """Print the policy that lets a person or machine connect with tokens of its own. Returns the exit status.

    Raises AccessError.
    """
    machines = {name: machine.person for name, machine in catalogue.machines.items()}
    found = _require_person(person, {**catalogue.people, **machines})
    print(
        json.dumps(connect_policy(location, found, describe_hosting(location, rds or partial(client, "rds"))), indent=2)
    )
    return 0


def _require_person(name: str, people: Mapping[str, Person]) -> Person:
    if name in people:
        return people[name]
    near = get_close_matches(name, people, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "Add them to [people], or a machine to [machines], first."
    raise SettingsError(f"Nobody in the catalogue is called '{name[:63]}'. {hint}")


def _arn(rest: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{rest}"}
