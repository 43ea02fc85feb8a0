"""What the local workspace starts with: people in Slack, a VPC and an Aurora cluster in AWS, two databases with a little data."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from chalicelib.aws.table import WATCH_INDEX
from chalicelib.domain.catalogue import Catalogue
from chalicelib.domain.catalogue_text import load_catalogue, pack_catalogue
from chalicelib.postgres.owner_setup import owner_setup
from local.postgres import PostgresServer, create_database, create_rds_roles
from local.slack.api import BOT, SlackUser

REGION, ACCOUNT = "eu-west-1", "123456789012"
TABLE, SECRET, AUDIT_LOG = "drawbridge", "drawbridge/slack", "drawbridge-audit"
TEAM, APP, SIGNING_SECRET, BOT_TOKEN = "T0EXAMPLE", "A0EXAMPLE", "local-signing-secret", "xoxb-local"
CLUSTER, DATABASES = "my-aurora", {"depotpostgres": "orders", "reports": "totals"}
LOCAL, ROOT = Path(__file__).parent, Path(__file__).parent.parent

# The last five: a guest, a bot, somebody who has left, and two of other workspaces who share a channel with us.
_KINDS: dict[str, dict[str, Any]] = {name: {} for name in ("alice", "bob", "carol")} | {
    "grace": {"is_restricted": True},
    "robot": {"is_bot": True},
    "frank": {"deleted": True},
    "mallory": {"team_id": "T0ELSEWHERE"},
    "sybil": {"team_id": "T0SIBLING", "is_stranger": True},
}
SLACK_USERS = [SlackUser(id=f"U0{name.upper()}", name=name, **{"team_id": TEAM, **_KINDS[name]}) for name in _KINDS]
_ALL, _APPROVALS = {*(user.id for user in SLACK_USERS), BOT["user"]}, {"U0ALICE", "U0BOB", "U0CAROL", BOT["user"]}
SLACK_CHANNELS = {"C0GENERAL": ("general", _ALL), "C0APPROVALS": ("db-approvals", _APPROVALS)}

# Isolated from each other: nobody may connect who was not told so.
_TABLE = """
SET ROLE {database}_app;
CREATE SCHEMA shop;
CREATE TABLE shop.{table} (id serial PRIMARY KEY, state text);
INSERT INTO shop.{table} (state) SELECT 'stuck' FROM generate_series(1, 3);
RESET ROLE;
REVOKE CONNECT ON DATABASE {database}, postgres, template1 FROM PUBLIC;
"""


def seed_databases(server: PostgresServer) -> None:
    """RDS's roles, then for each database its application's table and what its owner runs once for Drawbridge."""
    with server.connect(autocommit=True) as connection:
        create_rds_roles(connection)
        for database in DATABASES:
            create_database(connection, database, f"{database}_app")
    for database, table in DATABASES.items():
        with server.connect(database, autocommit=True) as connection:
            connection.execute(_TABLE.format(database=database, table=table).encode())
            connection.execute(owner_setup(database=database, server_version=server.version * 10_000).encode())


def seed_cluster(port: int) -> str:
    """An Aurora cluster with a writer, as RDS lists it; returns the cluster's endpoint."""
    rds: Any = boto3.client("rds")
    engine = {"Engine": "aurora-postgresql", "DBClusterIdentifier": CLUSTER}
    login = {"MasterUsername": "master", "MasterUserPassword": "not-used-here", "EnableIAMDatabaseAuthentication": True}
    rds.create_db_cluster(Port=port, **engine, **login)
    rds.create_db_instance(DBInstanceIdentifier=f"{CLUSTER}-1", DBInstanceClass="db.serverless", **engine)
    endpoint: str = rds.describe_db_clusters(DBClusterIdentifier=CLUSTER)["DBClusters"][0]["Endpoint"]
    return endpoint


def create_ledger(dynamodb: Any, table: str) -> None:
    """An empty one, with the keys and the index that a stage's has."""
    keys = [("pk", "HASH"), ("sk", "RANGE")], [("watch", "HASH"), ("ends_at", "RANGE")]
    main, watch = ([{"AttributeName": name, "KeyType": kind} for name, kind in pair] for pair in keys)
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in main + watch],
        KeySchema=main,
        GlobalSecondaryIndexes=[
            {"IndexName": WATCH_INDEX, "KeySchema": watch, "Projection": {"ProjectionType": "ALL"}}
        ],
    )


def seed_account() -> dict[str, str]:
    """The ledger, Slack's secret and two subnets; returns the subnets' ids by name."""
    create_ledger(boto3.client("dynamodb"), TABLE)
    secret = json.dumps({"app_id": APP, "signing_secret": SIGNING_SECRET, "bot_token": BOT_TOKEN})
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=secret)
    boto3.client("logs").create_log_group(logGroupName=AUDIT_LOG)
    ec2: Any = boto3.client("ec2")
    vpc, blocks = (
        ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"],
        {"subnet-a": "10.0.1.0/24", "subnet-b": "10.0.2.0/24"},
    )
    return {name: ec2.create_subnet(VpcId=vpc, CidrBlock=block)["Subnet"]["SubnetId"] for name, block in blocks.items()}


def write_catalogue(target: Path, *, subnets: Mapping[str, str], ports: Mapping[str, int], more: str = "") -> Catalogue:
    """Pack the workspace's catalogue, and more, with the subnets' real ids and other ports by location. CatalogueError."""
    text = (LOCAL / "catalogue.toml").read_text(encoding="utf-8") + more
    for name, subnet in subnets.items():
        text = text.replace(f'"{name}"', f'"{subnet}"')
    for location, port in ports.items():
        head, section, tail = text.partition(f"[locations.{location}]")
        text = head + section + re.sub(r"port = \d+", f"port = {port}", tail, count=1)
    target.write_text(pack_catalogue(text, file="local/catalogue.toml"), encoding="utf-8")
    return load_catalogue(text, file="local/catalogue.toml")
