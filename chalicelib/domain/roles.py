"""The names of PostgreSQL roles: one per person, location and level, and four groups per location."""

import hashlib
import re
import unicodedata
from base64 import b32encode
from dataclasses import dataclass

from chalicelib.domain.permissions import PermissionLevel

PROVISIONER = "drawbridge"
"""Login role, schema and marker of the control plane in every database."""
PERSON_PREFIX = "jit_"
_SLUG_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNames:
    """The NOLOGIN groups of one location. People are members of one; ``attic`` keeps what they leave behind."""

    read: str
    write: str
    operate: str
    attic: str

    def of_level(self, level: PermissionLevel) -> str:
        """The group that carries the privileges of a level."""
        return {
            PermissionLevel.READ: self.read,
            PermissionLevel.WRITE: self.write,
            PermissionLevel.OPERATE: self.operate,
        }[level]


def person_role(*, location: str, person_id: str, level: PermissionLevel, name: str) -> str:
    """The login role of one person: ``jit_<hash>_<level>_<slug>``, at most 63 bytes of ``[a-z0-9_]``.

    The hash stands before the slug because an IAM wildcard such as ``jit_alice_*`` would also match ``alice_smith``;
    a name longer than 63 bytes would be cut by PostgreSQL with a mere notice.
    """
    identity = f"{location}\n{person_id}\n{level}"
    return f"{PERSON_PREFIX}{_hash(identity, 10)}_{level}_{_slug(name)}"


def group_roles(location: str) -> GroupNames:
    """The four groups of a location: ``drawbridge_<h8>_{r,w,o,attic}``."""
    stem = f"{PROVISIONER}_{_hash(location, 8)}"
    return GroupNames(read=f"{stem}_r", write=f"{stem}_w", operate=f"{stem}_o", attic=f"{stem}_attic")


def _hash(text: str, length: int) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_SLUG_LENGTH].strip("_") or "user"
