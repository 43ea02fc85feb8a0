"""The lines a person pastes to reach a database. Pure; holds no token and no password."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import SessionDocument
from chalicelib.domain.requests import LOCAL_PORTS
from chalicelib.domain.session_documents import document_name

MINIMUM_PLUGIN_VERSION = "1.2.764"
"""First session-manager-plugin that signs the data channel; older ones are about to be refused (AWS: Install the plugin)."""

# Everything that ends up in a shell line is made of these alone, so that the line means the same in sh, bash, zsh, PowerShell
# and cmd. No first character by which `aws` would take a value for an option, or PowerShell for a variable. ``$HOME`` is the
# one expansion that is wanted, and only in the path of the certificate bundle. No backslash: libpq reads it as an escape
# (PostgreSQL: Connection Strings).
_SHELL_SAFE = re.compile(r"[A-Za-z0-9._:/][A-Za-z0-9._:/@-]*")
_PATH_SAFE = re.compile(r"(?:\$HOME/)?[A-Za-z0-9._:/@-]+")
# How each system says what is on the clipboard.
CLIPBOARDS = {
    "macOS": "pbpaste",
    "Linux, Wayland": "wl-paste",
    "Linux, X11": "xclip -o -selection clipboard",
}
POWERSHELL = "PowerShell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDetails:
    """How the holder of a grant reaches its database."""

    facts: GrantFacts
    instance_id: str
    writer: Endpoint
    stage: str
    certificate_bundle: str
    """Path of the RDS certificate bundle on the person's machine."""

    def __post_init__(self) -> None:
        """Raises ValueError when anything could mean something to a shell."""
        facts = self.facts
        places = (
            facts.request_id,
            facts.location,
            facts.database,
            facts.role,
            facts.region,
            self.stage,
            *filter(None, [facts.profile]),
        )
        for value in (self.instance_id, self.writer.host, *places):
            if not _SHELL_SAFE.fullmatch(value):
                raise ValueError(f"{value!r} cannot stand in a shell command")
        if not _PATH_SAFE.fullmatch(self.certificate_bundle):
            raise ValueError(f"{self.certificate_bundle!r} cannot stand in a shell command")

    @property
    def port(self) -> int:
        """The port of the tunnel on the person's machine."""
        return self.facts.port

    def on_port(self, port: int) -> "ConnectionDetails":
        """The same by another local port."""
        return replace(self, facts=replace(self.facts, port=port))


def choose_port(wanted: int, taken: Collection[int]) -> int:
    """The wanted port, or the next one that is not taken; after the last comes the first that needs no special rights."""
    if wanted not in taken:
        return wanted
    start = wanted - LOCAL_PORTS.start
    for step in range(1, len(LOCAL_PORTS) + 1):
        port = LOCAL_PORTS[(start + step) % len(LOCAL_PORTS)]
        if port not in taken:
            return port
    raise ValueError("every local port is taken")


def tunnel_command(details: ConnectionDetails) -> str:
    """The line that opens the tunnel. ``--reason`` tells whose tunnel it is.

    Several parameters stand in one pair of outer quotes: PowerShell would split them at the commas, and inner quotes differ
    from shell to shell. A location's own document knows host and port, and the local port that it had at the granting.
    """
    facts = details.facts
    return " ".join(
        [
            "aws ssm start-session",
            *_profile(details),
            f"--region {facts.region}",
            f"--target {details.instance_id}",
            f"--document-name {document_name(stage=details.stage, location=facts.location, document=facts.document)}",
            *_parameters(details),
            f"--reason {facts.request_id}",
        ]
    )


def _parameters(details: ConnectionDetails) -> tuple[str, ...]:
    local_port = f"localPortNumber={details.port}"
    if details.facts.document is SessionDocument.AWS:
        return (f'--parameters "host={details.writer.host},portNumber={details.writer.port},{local_port}"',)
    return () if details.port == details.facts.document_port else (f"--parameters {local_port}",)


def tunnel_is_open_line(details: ConnectionDetails) -> str:
    """What the person should see once the tunnel is open."""
    return f"Port {details.port} opened for sessionId …"


def psql_command(details: ConnectionDetails) -> str:
    """The line that connects through the open tunnel, with the server's certificate checked for its real name."""
    return f'psql "{" ".join(libpq_settings(details, details.certificate_bundle))}"'


def password_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that takes the token from the clipboard, so that it is in no history, and connects."""
    psql = psql_command(details)
    return (
        *((system, f'PGPASSWORD="$({paste})" {psql}') for system, paste in CLIPBOARDS.items()),
        (POWERSHELL, f"$env:PGPASSWORD = Get-Clipboard -Raw; {psql}"),
    )


def local_token_command(details: ConnectionDetails) -> str:
    """The line that makes a token with the person's own AWS identity, for locations whose token never crosses Slack."""
    return " ".join(
        [
            "aws rds generate-db-auth-token",
            *_profile(details),
            f"--region {details.facts.region}",
            f"--hostname {details.writer.host}",
            f"--port {details.writer.port}",
            f"--username {details.facts.role}",
        ]
    )


def local_token_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that makes a token with the person's own AWS identity and connects with it."""
    make, psql = local_token_command(details), psql_command(details)
    return (
        ("macOS, Linux", f'PGPASSWORD="$({make})" {psql}'),
        (POWERSHELL, f"$env:PGPASSWORD = ({make}); {psql}"),
    )


def port_in_use_lines(details: ConnectionDetails, taken: Collection[int] = ()) -> tuple[tuple[str, str], ...]:
    """For "address already in use": what shows who holds the port, then the tunnel and psql by the next free port.

    ``taken`` are further ports that are known to be in use.
    """
    port = details.port
    other = details.on_port(choose_port(port, {port, *taken}))
    return (
        ("macOS, Linux", f"lsof -nP -iTCP:{port} -sTCP:LISTEN"),
        (POWERSHELL, f"Get-Process -Id (Get-NetTCPConnection -LocalPort {port}).OwningProcess"),
        (f"The tunnel by port {other.port}", tunnel_command(other)),
        ("Then connect", psql_command(other)),
    )


def libpq_settings(details: ConnectionDetails, bundle: str) -> tuple[str, ...]:
    """What libpq is told, with the bundle at that path: the tunnel's address beside the server's real name."""
    return (
        f"host={details.writer.host}",
        "hostaddr=127.0.0.1",
        f"port={details.port}",
        f"dbname={details.facts.database}",
        f"user={details.facts.role}",
        "sslmode=verify-full",
        f"sslrootcert={bundle}",
    )


def _profile(details: ConnectionDetails) -> tuple[str, ...]:
    return (f"--profile {details.facts.profile}",) if details.facts.profile else ()
