"""What a turn of housekeeping and of reconciliation costs, by how much there is to look at: calls to AWS, and time.

`python -m benchmarks.housekeeping`. The ledger and EC2 are moto's, in this process, without HTTP; Session Manager and the list of
executions are lists in pages of AWS's sizes. Nothing is due: it is the turn of every five minutes, in which all is well.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import boto3
from moto import mock_aws

from chalicelib.aws.bastion_host import Ec2BastionHost
from chalicelib.aws.bastion_ledger import DynamoBastionLedger
from chalicelib.aws.executions import StepFunctionsExecutions
from chalicelib.aws.grant_ledger import DynamoGrantLedger
from chalicelib.aws.request_ledger import DynamoRequestLedger
from chalicelib.aws.table import Table, Write, Written
from chalicelib.aws.tunnels import SsmTunnels
from chalicelib.defaults import DURATIONS
from chalicelib.domain.bastions import INSTANCE_TYPES, STAGE_TAG, BastionState
from chalicelib.workflow.reconcile_grants import reconcile_grants
from chalicelib.workflow.stop_idle_bastions import stop_idle_bastions
from local.seed import create_ledger
from tests.factories import FRIDAY_NOON, a_bastion, a_catalogue, a_grant, a_group, a_location, a_person, a_request
from tests.fakes import FakeAuditTrail, FakeMembers

REGION, STAGE = "eu-west-1", "bench"
BASE = {"locations": 10, "bastions": 2, "tunnels": 10, "grants": 10}
MORE: Sequence[Mapping[str, int]] = (
    {},
    {"locations": 1000},
    {"bastions": 200},
    {"tunnels": 5000},
    {"bastions": 20, "grants": 200},
    {"locations": 1000, "bastions": 200, "tunnels": 5000, "grants": 200},
)
PAGES = {"describe_sessions": 200, "describe_instance_information": 50, "list_executions": 100}
"""What AWS answers at once when nobody says how much."""
ROUNDS = 3


class Paged:
    """A client of lists: each call is one page of one of them."""

    def __init__(self, calls: Counter[str], lists: Mapping[str, tuple[str, Sequence[dict[str, Any]]]]) -> None:
        self._calls, self._lists = calls, lists

    def get_paginator(self, operation: str) -> Any:
        """Pages, as large as they were asked for."""
        return SimpleNamespace(paginate=lambda **asked: self._paginate(operation, asked))

    def _paginate(self, operation: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        name, items = self._lists[operation]
        size = asked.get("PaginationConfig", {}).get("PageSize", PAGES[operation])
        wanted = {value for each in asked.get("Filters", []) for value in each.get("Values", [])}
        found = [each for each in items if not wanted or each["InstanceId"] in wanted]
        for start in range(0, max(1, len(found)), size):
            self._calls[operation] += 1
            yield {name: found[start : start + size]}


class Seeding(Table):
    """The table while it is filled: moto copies all of it for each transaction."""

    def write_together(self, writes: Sequence[Write]) -> list[Written]:
        """One after the other."""
        return [self.write(each) for each in writes]


class Stage:
    """A stage with so many of everything, in which all is well."""

    def __init__(self, *, locations: int, bastions: int, tunnels: int, grants: int) -> None:
        self.calls: Counter[str] = Counter()
        groups = [a_group(f"group-{number:03}") for number in range(bastions)]
        listed = [a_location(f"location-{n:04}", bastion=groups[n % bastions]) for n in range(max(locations, bastions))]
        people = tuple(a_person(f"person{number:04}") for number in range(grants))
        instances = _launch(bastions)
        dynamodb = boto3.client("dynamodb")
        create_ledger(dynamodb, "ledger")
        table = Seeding(dynamodb, "ledger")
        self._requests, self._grants = DynamoRequestLedger(table), DynamoGrantLedger(table)
        self._bastions = DynamoBastionLedger(table)
        until = FRIDAY_NOON + timedelta(hours=2)
        for number, instance in enumerate(instances):
            name = groups[number].name
            absent = a_bastion(name=name)
            self._bastions.take_lease(name, "R-KEEPUP", until=until)
            running = replace(absent, state=BastionState.RUNNING, instance_id=instance, launched_at=FRIDAY_NOON)
            self._bastions.replace_bastion(absent, running, only_if_unleased=False)
        holders = []
        for number, person in enumerate(people):
            place = number % bastions
            asked = a_request(person=person, location=listed[place].name)
            filed = self._requests.file_request(asked, origin_id=f"origin-{number}", open_limit=3).request
            assert filed is not None
            grant = a_grant(filed, location=listed[place], instance_id=instances[place], delivered_at=FRIDAY_NOON)
            self._grants.create_grant(grant)
            self._bastions.take_lease(groups[place].name, filed.request_id, until=until)
            holders.append((filed.request_id, instances[place]))
        sessions = [
            {"SessionId": f"s-{n}", "Target": target, "Reason": reason, "Status": "Connected", "StartDate": FRIDAY_NOON}
            for n, (reason, target) in enumerate(holders[n % len(holders)] for n in range(tunnels))
        ]
        agents = [{"InstanceId": each, "PingStatus": "Online", "AgentVersion": "3.3.0.0"} for each in instances]
        executions = [{"name": request_id} for request_id, _ in holders]
        self._ssm = ssm = Paged(
            self.calls,
            {
                "describe_sessions": ("Sessions", sessions),
                "describe_instance_information": ("InstanceInformationList", agents),
            },
        )
        workflow = Paged(self.calls, {"list_executions": ("executions", executions)})
        self._catalogue = a_catalogue(*listed, people=people)
        self._host = Ec2BastionHost(ec2=boto3.client("ec2"), ssm=ssm, launch_template="drawbridge-bench")
        self._tunnels = SsmTunnels(ssm)
        self._executions = StepFunctionsExecutions(workflow, "arn:aws:states:eu-west-1:123456789012:stateMachine:bench")
        self._now = FRIDAY_NOON + timedelta(minutes=5)

    def housekeep(self) -> None:
        """A turn of StopIdleBastions."""
        done = stop_idle_bastions(
            catalogue=self._catalogue,
            stage=STAGE,
            durations=DURATIONS,
            grants=self._grants,
            bastions=self._bastions,
            host=self._host,
            tunnels=self._tunnels,
            audit=FakeAuditTrail(),
            clock=lambda: self._now,
        )
        assert not any(each.expired_leases or each.ended_tunnels or each.moved_grants for each in done), done

    def reconcile(self) -> None:
        """A turn of ReconcileGrants."""
        repairs = reconcile_grants(
            catalogue=self._catalogue,
            requests=self._requests,
            grants=self._grants,
            executions=self._executions,
            members=FakeMembers(),
            audit=FakeAuditTrail(),
            clock=lambda: self._now,
        )
        assert repairs == []

    def count(self) -> None:
        """From now on, boto3's calls count too."""
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.unregister("before-call", unique_id="bench")
        boto3.DEFAULT_SESSION.events.register("before-call", self._hear, unique_id="bench")
        self._host = Ec2BastionHost(
            ec2=boto3.client("ec2"),
            ssm=self._ssm,
            launch_template="drawbridge-bench",
        )
        table = Table(boto3.client("dynamodb"), "ledger")
        self._requests, self._grants = DynamoRequestLedger(table), DynamoGrantLedger(table)
        self._bastions = DynamoBastionLedger(table)

    def _hear(self, model: Any, **_: Any) -> None:
        self.calls[model.name] += 1


def _launch(number: int) -> list[str]:
    tags = [{"Key": STAGE_TAG, "Value": STAGE}]
    ec2: Any = boto3.client("ec2")
    launched = ec2.run_instances(
        ImageId=ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
        InstanceType=INSTANCE_TYPES[0],
        MinCount=number,
        MaxCount=number,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return [str(each["InstanceId"]) for each in launched["Instances"]]


def main() -> None:
    """Print a row for each size and each of the two."""
    logging.disable(logging.WARNING)
    print("| locations | bastions | tunnels | grants | turn of | calls | of them | time, s |")
    print("|--:|--:|--:|--:|---|--:|---|--:|")
    for more in MORE:
        sizes = {**BASE, **more}
        with mock_aws():
            boto3.setup_default_session(
                region_name=REGION, aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret"
            )
            stage = Stage(**sizes)
            stage.count()
            for name, turn in (("StopIdleBastions", stage.housekeep), ("ReconcileGrants", stage.reconcile)):
                times = []
                for _ in range(ROUNDS):
                    stage.calls.clear()
                    began = time.perf_counter()
                    turn()
                    times.append(time.perf_counter() - began)
                of_them = ", ".join(f"{count} {operation}" for operation, count in sorted(stage.calls.items()))
                numbers = " | ".join(f"{size:,}" for size in sizes.values())
                print(f"| {numbers} | {name} | {stage.calls.total()} | {of_them} | {min(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
