"""What people's computers and pipelines have: an AWS profile each, the aws command, and a plugin for Session Manager."""

import os
import sys
from pathlib import Path

from local import seed
from local.identities import assume_role

PEOPLE = ("alice", "bob", "carol")
MACHINES = {"release-pipeline": "ReleasePipeline"}
"""Their roles, whose sessions anybody may name."""
_PLUGIN = Path(__file__).parent / "session_manager_plugin.py"


class Shells:
    """Files in ``directory``: programs, an AWS configuration, and for each person or machine a file that a shell can read.

    Who has them may call Session Manager, STS and Drawbridge's API in the local AWS.
    """

    def __init__(self, directory: Path, *, endpoint_url: str, api_url: str) -> None:
        self.directory, self._api_url = directory, api_url
        programs = directory / "bin"
        programs.mkdir(parents=True)
        plugin = programs / "session-manager-plugin"
        plugin.write_text(f"#!{sys.executable}\n{_PLUGIN.read_text(encoding='utf-8')}", encoding="utf-8")
        plugin.chmod(0o755)
        sessions = {name: assume_role("Developer", f"{name}@example.com") for name in PEOPLE}
        sessions |= {name: assume_role(role, "local") for name, role in MACHINES.items()}
        profiles = [
            f"[profile {name}]\nregion = {seed.REGION}\nservices = local\n"
            + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for name, keys in sessions.items()
        ]
        services = "".join(f"{name} =\n  endpoint_url = {endpoint_url}\n" for name in ("ssm", "sts"))
        (directory / "aws-config").write_text("\n".join([*profiles, f"[services local]\n{services}"]), encoding="utf-8")
        for name in sessions:
            lines = "".join(f"export {key}='{value}'\n" for key, value in self.settings(name).items())
            (directory / name).write_text(lines, encoding="utf-8")

    def settings(self, name: str) -> dict[str, str]:
        """The variables of a shell in which somebody pastes what they were delivered, or runs the terminal client."""
        paths = (self.directory / "bin", Path(sys.executable).parent, os.environ.get("PATH", os.defpath))
        return {
            "AWS_CONFIG_FILE": str(self.directory / "aws-config"),
            "AWS_PROFILE": name,
            "DRAWBRIDGE_API": self._api_url,
            "PATH": os.pathsep.join(str(path) for path in paths),
        }
