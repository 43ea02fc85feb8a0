"""What people's machines have: an AWS profile each, the aws command, and a plugin for Session Manager."""

import os
import sys
from pathlib import Path

from local import seed

PEOPLE = ("alice", "bob", "carol")
_PLUGIN = Path(__file__).parent / "session_manager_plugin.py"
_SECRET = "local-person-secret"


def principal_of(access_key_id: str) -> str:
    """The AWS principal behind an access key, as Session Manager names the owner of a session."""
    name = next((name for name in PEOPLE if _key(name) == access_key_id), "functions")
    return f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/Developer/{name}@example.com"


class Shells:
    """Files in ``directory``: programs, an AWS configuration, and for each person a file that a shell can read."""

    def __init__(self, directory: Path, *, endpoint_url: str) -> None:
        self.directory = directory
        programs = directory / "bin"
        programs.mkdir(parents=True)
        plugin = programs / "session-manager-plugin"
        plugin.write_text(f"#!{sys.executable}\n{_PLUGIN.read_text(encoding='utf-8')}", encoding="utf-8")
        plugin.chmod(0o755)
        keys = "aws_access_key_id = {}\naws_secret_access_key = {}\n"
        profile = "[profile {}]\nregion = {}\nservices = local\n" + keys
        profiles = [profile.format(name, seed.REGION, _key(name), _SECRET) for name in PEOPLE]
        service = f"[services local]\nssm =\n  endpoint_url = {endpoint_url}\n"
        (directory / "aws-config").write_text("\n".join([*profiles, service]), encoding="utf-8")
        for name in PEOPLE:
            lines = "".join(f"export {key}='{value}'\n" for key, value in self.settings(name).items())
            (directory / name).write_text(lines, encoding="utf-8")

    def settings(self, person: str) -> dict[str, str]:
        """The variables of a shell in which a person pastes what they were delivered."""
        paths = (self.directory / "bin", Path(sys.executable).parent, os.environ.get("PATH", os.defpath))
        return {
            "AWS_CONFIG_FILE": str(self.directory / "aws-config"),
            "AWS_PROFILE": person,
            "PATH": os.pathsep.join(str(path) for path in paths),
        }


def _key(person: str) -> str:
    return f"AKIALOCAL{person.upper():0<11}"
