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
from chalicelib.domain.locations import Location, TokenSource
from chalicelib.domain.people import Person
from chalicelib.domain.permissions import PermissionLevel
from chalicelib.domain.roles import person_role
from chalicelib.domain.session_documents import AWS_DOCUMENT
from deployment.hosting import Hosting, Rds, describe_hosting

_VERSION = "2012-10-17"
_ACCESS_CHECK = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
"""Without it, whoever may reach the instance could start the default document, which is a shell of root's."""


def user_policy(stage: str, *, uses_aws_document: bool = False) -> dict[str, Any]:
    """The managed policy ``DrawbridgeUser``, with CloudFormation's intrinsics: tunnels by this stage's bastions and no more.

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
    """What a person needs who signs their own tokens: the right to connect as exactly their users of this location.

    Raises SettingsError for somebody who may not ask for any level there.
    """
    levels = [
        level for level in PermissionLevel if level in location.levels and location.levels[level].admits(person.name)
    ]
    if not levels:
        raise SettingsError(
            f"{person.name} may not ask for any access to {location.name}, so there is no user to connect as. Name them in "
            "'who' of a level in the catalogue first."
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
    parser.add_argument("person", metavar="PERSON", help="the person's name in the catalogue")


def print_policy(location: Location, person: str, *, catalogue: Catalogue, rds: Rds | None = None) -> int:
    """Print the policy that lets a person connect with tokens of their own. Returns the exit status. Raises AccessError."""
    found = _require_person(person, catalogue.people)
    if location.token is not TokenSource.LOCAL:
        raise SettingsError(
            f"Nobody needs this for {location.name}: people get its tokens in Slack. It is for locations with token = "
            '"local" in the catalogue.'
        )
    print(
        json.dumps(connect_policy(location, found, describe_hosting(location, rds or partial(client, "rds"))), indent=2)
    )
    return 0


def _require_person(name: str, people: Mapping[str, Person]) -> Person:
    if name in people:
        return people[name]
    near = get_close_matches(name, people, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "Add them to [people] first."
    raise SettingsError(f"Nobody in the catalogue is called '{name[:63]}'. {hint}")


def _arn(rest: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{rest}"}
