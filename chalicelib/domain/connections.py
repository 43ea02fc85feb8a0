"""The lines a person pastes to reach a database. Pure; holds no token and no password."""

import re
from dataclasses import dataclass

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import SessionDocument

AWS_DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
MINIMUM_PLUGIN_VERSION = "1.2.764"
"""First session-manager-plugin that signs the data channel; older ones are about to be refused (AWS: Install the plugin)."""

# Everything that ends up in a shell line is made of these alone, so that the line means the same in bash, zsh, PowerShell
# and cmd. ``$HOME`` is the one expansion that is wanted, and only in the path of the certificate bundle. No backslash:
# libpq reads it as an escape (PostgreSQL: Connection Strings).
_SHELL_SAFE = re.compile(r"[A-Za-z0-9._:/@-]+")
_PATH_SAFE = re.compile(r"(?:\$HOME/)?[A-Za-z0-9._:/@-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDetails:
    """How the holder of a grant reaches its database."""

    facts: GrantFacts
    instance_id: str
    writer: Endpoint
    certificate_bundle: str
    """Path of the RDS certificate bundle on the person's machine."""

    def __post_init__(self) -> None:
        """Raises ValueError when anything could mean something to a shell."""
        facts = self.facts
        places = (facts.request_id, facts.location, facts.database, facts.role, facts.region)
        for value in (self.instance_id, self.writer.host, *places):
            if not _SHELL_SAFE.fullmatch(value):
                raise ValueError(f"{value!r} cannot stand in a shell command")
        if not _PATH_SAFE.fullmatch(self.certificate_bundle):
            raise ValueError(f"{self.certificate_bundle!r} cannot stand in a shell command")


def document_name(location: str, document: SessionDocument) -> str:
    """The Session document that opens a location's tunnel."""
    return AWS_DOCUMENT if document is SessionDocument.AWS else f"drawbridge-{location}"


def tunnel_command(details: ConnectionDetails) -> str:
    """The line that opens the tunnel. ``--reason`` tells whose tunnel it is.

    The parameters stand in one pair of outer quotes: PowerShell would split them at the commas, and inner quotes differ
    from shell to shell.
    """
    facts = details.facts
    words = [
        "aws ssm start-session",
        f"--region {facts.region}",
        f"--target {details.instance_id}",
        f"--document-name {document_name(facts.location, facts.document)}",
    ]
    if facts.document is SessionDocument.AWS:
        parameters = f"host={details.writer.host},portNumber={details.writer.port},localPortNumber={facts.port}"
        words.append(f'--parameters "{parameters}"')
    return " ".join([*words, f"--reason {facts.request_id}"])


def tunnel_is_open_line(details: ConnectionDetails) -> str:
    """What the person should see once the tunnel is open."""
    return f"Port {details.facts.port} opened for sessionId …"


def psql_command(details: ConnectionDetails) -> str:
    """The line that connects through the open tunnel, with the server's certificate checked for its real name."""
    return (
        f'psql "host={details.writer.host} hostaddr=127.0.0.1 port={details.facts.port} '
        f"dbname={details.facts.database} user={details.facts.role} "
        f'sslmode=verify-full sslrootcert={details.certificate_bundle}"'
    )


def password_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that takes the token from the clipboard, so that it is in no history, and connects."""
    psql = psql_command(details)
    return (
        ("macOS", f'PGPASSWORD="$(pbpaste)" {psql}'),
        ("Linux, Wayland", f'PGPASSWORD="$(wl-paste)" {psql}'),
        ("Linux, X11", f'PGPASSWORD="$(xclip -o -selection clipboard)" {psql}'),
        ("PowerShell", f"$env:PGPASSWORD = Get-Clipboard -Raw; {psql}"),
    )


def local_token_command(details: ConnectionDetails) -> str:
    """The line that makes a token with the person's own AWS identity, for locations whose token never crosses Slack."""
    return (
        f"aws rds generate-db-auth-token --hostname {details.writer.host} --port {details.writer.port} "
        f"--region {details.facts.region} --username {details.facts.role}"
    )
