"""The bucket of what is deployed: one for each account and region, closed to everybody else, a folder for each stage.

Nothing in it expires by age: CloudFormation fetches a function's earlier code from it when an update has to be undone. What a
stage no longer needs is removed once its deployment has succeeded.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.errors import error_code
from deployment.account import Account, DeploymentError, explained

_CATALOGUE = "catalogue-sha256"


class Artifacts:
    """The artifacts of one stage. Every method raises DeploymentError, also for a bucket that is somebody else's."""

    def __init__(self, account: Account, stage: str) -> None:
        self._s3 = account.client("s3")
        self._account = account
        self._owner = {"ExpectedBucketOwner": account.number}
        self._folder = f"{stage}/"
        self.bucket = f"drawbridge-{account.number}-{account.region}"

    def ensure_bucket(self) -> bool:
        """Make it if it is not there, and close it in either case. Was it made?"""
        with explained(f"make the bucket {self.bucket}"):
            is_new = not self._is_there()
            if is_new:
                place = {"LocationConstraint": self._account.region}
                elsewhere = {} if self._account.region == "us-east-1" else {"CreateBucketConfiguration": place}
                self._s3.create_bucket(Bucket=self.bucket, **elsewhere)
            self._close()
        return is_new

    def put(self, content: bytes, *, ending: str, facts: Mapping[str, str] | None = None) -> tuple[str, bool]:
        """Upload unless it is there under its hash. Returns its key, and whether it was uploaded."""
        digest = hashlib.sha256(content)
        key = f"{self._folder}{digest.hexdigest()}.{ending}"
        with explained(f"upload to the bucket {self.bucket}"):
            if self._find_head(key) is not None:
                return key, False
            self._s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),  # S3 refuses what arrives otherwise
                Metadata=dict(facts or {}),
                **self._owner,
            )
        return key, True

    def put_package(self, archive: bytes, *, catalogue_sha256: str) -> tuple[str, bool]:
        """Upload the functions' code, with the hash of the catalogue that is packed in it."""
        return self.put(archive, ending="zip", facts={_CATALOGUE: catalogue_sha256})

    def find_catalogue_hash(self, key: str) -> str | None:
        """The hash of the catalogue that was packed with a deployed package; None when the package is not there."""
        with explained(f"look into the bucket {self.bucket}"):
            head = self._find_head(key)
        return head.get("Metadata", {}).get(_CATALOGUE) if head else None

    def address(self, key: str) -> str:
        """Where CloudFormation fetches it."""
        suffix = "amazonaws.com.cn" if self._account.partition == "aws-cn" else "amazonaws.com"
        return f"https://{self.bucket}.s3.{self._account.region}.{suffix}/{key}"

    def keys(self) -> list[str]:
        """Everything of this stage; nothing when there is no bucket."""
        with explained(f"look into the bucket {self.bucket}"):
            if not self._is_there():
                return []
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._folder, **self._owner
            )
            return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def remove(self, keys: Collection[str]) -> None:
        """Delete objects of this stage; deleting what is gone is nothing."""
        with explained(f"tidy the bucket {self.bucket}"):
            for key in keys:
                self._s3.delete_object(Bucket=self.bucket, Key=key, **self._owner)

    def remove_empty_bucket(self) -> bool:
        """Delete the bucket if no stage has anything in it. Is it gone?"""
        with explained(f"delete the bucket {self.bucket}"):
            if not self._is_there():
                return True
            try:
                self._s3.delete_bucket(Bucket=self.bucket, **self._owner)
            except ClientError as error:
                if error_code(error) != "BucketNotEmpty":
                    raise
                return False
        return True

    def _is_there(self) -> bool:
        try:
            self._s3.head_bucket(Bucket=self.bucket, **self._owner)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchBucket"}:
                return False
            if error_code(error) in {"403", "AccessDenied"}:
                raise DeploymentError(
                    f"The bucket {self.bucket} is closed to you, or it is another account's. Nothing was put there. "
                    "Ask for s3:ListBucket on it, and look who owns it."
                ) from error
            raise
        return True

    def _find_head(self, key: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self._s3.head_object(Bucket=self.bucket, Key=key, **self._owner)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey", "NoSuchBucket"}:
                return None
            raise
        return head

    def _close(self) -> None:
        arn = f"arn:{self._account.partition}:s3:::{self.bucket}"
        only_tls = {
            "Sid": "OnlyTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        here = {"Bucket": self.bucket} | self._owner
        self._s3.put_public_access_block(PublicAccessBlockConfiguration=dict.fromkeys(blocked, True), **here)
        self._s3.put_bucket_policy(Policy=json.dumps({"Version": "2012-10-17", "Statement": [only_tls]}), **here)
        encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        self._s3.put_bucket_encryption(ServerSideEncryptionConfiguration=encryption, **here)
        unfinished = {
            "ID": "unfinished uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        self._s3.put_bucket_lifecycle_configuration(LifecycleConfiguration={"Rules": [unfinished]}, **here)
