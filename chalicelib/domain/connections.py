"""The lines a person pastes to reach a database, and what their tools want to know. Pure; holds no token and no password."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from urllib.parse import quote

from chalicelib.defaults import DURATIONS
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.grants import GrantFacts
from chalicelib.domain.instances import Endpoint
from chalicelib.domain.locations import SessionDocument, TokenSource
from chalicelib.domain.requests import LOCAL_PORTS
from chalicelib.domain.session_documents import document_name

MINIMUM_PLUGIN_VERSION = "1.2.764"
"""First session-manager-plugin that signs the data channel; older ones are about to be refused (AWS: Install the plugin)."""
WHY_SSL = (
    "Leave SSL on: the database takes a token over SSL alone, and without it the token could be read behind the bastion. "
    "verify-ca makes sure that the other end is Amazon's. JDBC cannot check its name as well, because it sees 127.0.0.1; "
    "psql and pgAdmin can."
)

# Everything that ends up in a shell line is made of these alone, so that the line means the same in sh, bash, zsh, PowerShell
# and cmd. No first character by which `aws` would take a value for an option, or PowerShell for a variable. ``$HOME`` is the
# one expansion that is wanted, and only in the path of the certificate bundle. No backslash: libpq reads it as an escape
# (PostgreSQL: Connection Strings).
_SHELL_SAFE = re.compile(r"[A-Za-z0-9._:/][A-Za-z0-9._:/@-]*")
_PATH_SAFE = re.compile(r"(?:\$HOME/)?[A-Za-z0-9._:/@-]+")
_HOME = "$HOME/"
_WRITTEN_HOME = "YOUR-HOME/"
_FULL_HOME = "Write your home folder in full in place of YOUR-HOME, with forward slashes on Windows too."
_KEEP_NO_PASSWORD = (
    f"Do not let it keep the password: a token opens connections for {describe_duration(DURATIONS.token)},"
    " then a fresh one is needed."
)
_PASSWORD_FILE = ".drawbridge.pgpass"  # noqa: S105  # the name of a file
# How each system says what is on the clipboard.
_CLIPBOARDS = {
    "macOS": "pbpaste",
    "Linux, Wayland": "wl-paste",
    "Linux, X11": "xclip -o -selection clipboard",
}
_POWERSHELL = "PowerShell"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GuiSetting:
    """What one tool wants to know: ``lines`` to type or paste as they stand, and what a person should know about them."""

    name: str
    lines: tuple[str, ...]
    note: str


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
    return f'psql "{" ".join(_libpq_settings(details, details.certificate_bundle))}"'


def password_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that takes the token from the clipboard, so that it is in no history, and connects."""
    psql = psql_command(details)
    return (
        *((system, f'PGPASSWORD="$({paste})" {psql}') for system, paste in _CLIPBOARDS.items()),
        (_POWERSHELL, f"$env:PGPASSWORD = Get-Clipboard -Raw; {psql}"),
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
        (_POWERSHELL, f"$env:PGPASSWORD = ({make}); {psql}"),
    )


def port_in_use_lines(details: ConnectionDetails, taken: Collection[int] = ()) -> tuple[tuple[str, str], ...]:
    """For "address already in use": what shows who holds the port, then the tunnel and psql by the next free port.

    ``taken`` are further ports that are known to be in use.
    """
    port = details.port
    other = details.on_port(choose_port(port, {port, *taken}))
    return (
        ("macOS, Linux", f"lsof -nP -iTCP:{port} -sTCP:LISTEN"),
        (_POWERSHELL, f"Get-Process -Id (Get-NetTCPConnection -LocalPort {port}).OwningProcess"),
        (f"The tunnel by port {other.port}", tunnel_command(other)),
        ("Then connect", psql_command(other)),
    )


def password_file_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that puts the token into the password file that the service of ``gui_settings`` names.

    libpq looks the password up by the host's name, not by 127.0.0.1, and ends it at the first colon that has no backslash
    (PostgreSQL: The Password File); a token holds one.
    """
    places = (details.writer.host, str(details.port), details.facts.database, details.facts.role, "")
    entry = ":".join(place.replace(":", "\\:") for place in places)
    make = local_token_command(details)
    is_local = details.facts.token is TokenSource.LOCAL
    sources = {"macOS, Linux": make} if is_local else _CLIPBOARDS
    windows = f"({make})" if is_local else "(Get-Clipboard -Raw).Trim()"
    return (
        *(
            (
                system,
                f"""(umask 077; printf "%s\\n" "{entry}$({source} | sed 's/:/\\\\:/g')" > "$HOME/{_PASSWORD_FILE}")""",
            )
            for system, source in sources.items()
        ),
        (_POWERSHELL, f"""Set-Content "$HOME/{_PASSWORD_FILE}" ("{entry}" + ({windows} -replace ":", "\\:"))"""),
    )


def gui_settings(details: ConnectionDetails) -> tuple[GuiSetting, ...]:
    """What to fill into each common tool, page by page. Paths stand there in full: none of the tools expands ``$HOME``.

    The names are those of pgAdmin's Server Dialog and DBeaver's SSL page; JDBC's parameters those of pgJDBC.
    """
    return (_dbeaver(details), _jdbc(details), _pgadmin(details), _service(details))


def _dbeaver(details: ConnectionDetails) -> GuiSetting:
    return GuiSetting(
        name="DBeaver",
        lines=(
            "Main, Host: 127.0.0.1",
            f"Main, Port: {details.port}",
            f"Main, Database: {details.facts.database}",
            f"Main, Username: {details.facts.role}",
            f"Main, Password: {_password(details)}",
            "SSL, Use SSL: on",
            f"SSL, Root certificate: {_written_out(details.certificate_bundle)}",
            "SSL, SSL mode: verify-ca",
        ),
        note=_sentences(_home_note(details), _KEEP_NO_PASSWORD),
    )


def _jdbc(details: ConnectionDetails) -> GuiSetting:
    database = quote(details.facts.database, safe="")
    bundle = quote(_written_out(details.certificate_bundle), safe="/:")
    url = f"jdbc:postgresql://127.0.0.1:{details.port}/{database}?sslmode=verify-ca&sslrootcert={bundle}"
    return GuiSetting(
        name="DataGrip and others over JDBC",
        lines=(
            f"URL: {url}",
            f"User: {details.facts.role}",
            f"Password: {_password(details)}",
        ),
        note=_sentences(_home_note(details), _KEEP_NO_PASSWORD),
    )


def _pgadmin(details: ConnectionDetails) -> GuiSetting:
    password: tuple[str, ...] = (f"Connection, Password: {_password(details)}",)
    note = _KEEP_NO_PASSWORD
    if details.facts.token is TokenSource.LOCAL:
        password = (
            f"Advanced, Password exec command: {local_token_command(details)}",
            f"Advanced, Password exec expiration (seconds): {DURATIONS.token - 60}",
        )
        note = ""
    return GuiSetting(
        name="pgAdmin, from version 6.20 on",
        lines=(
            f"Connection, Host name/address: {details.writer.host}",
            f"Connection, Port: {details.port}",
            f"Connection, Maintenance database: {details.facts.database}",
            f"Connection, Username: {details.facts.role}",
            *password,
            "Parameters, Host address: 127.0.0.1",
            "Parameters, SSL mode: verify-full",
            f"Parameters, Root certificate: {_written_out(details.certificate_bundle)}",
        ),
        note=_sentences(_home_note(details), note),
    )


def _service(details: ConnectionDetails) -> GuiSetting:
    return GuiSetting(
        name="pg_service.conf",
        lines=(
            f"[{service_name(details)}]",
            *_libpq_settings(details, _written_out(details.certificate_bundle)),
            f"passfile={_WRITTEN_HOME}{_PASSWORD_FILE}",
        ),
        note=_sentences(
            "Once, into .pg_service.conf in your home folder; on Windows into %APPDATA%/postgresql/.pg_service.conf.",
            _FULL_HOME,
            "Then, each time, put a fresh token into the password file and connect with:",
            f"psql service={service_name(details)}",
        ),
    )


def service_name(details: ConnectionDetails) -> str:
    """The name under which ``pg_service.conf`` knows this access."""
    return f"{details.facts.location}-{details.facts.level}"


def _libpq_settings(details: ConnectionDetails, bundle: str) -> tuple[str, ...]:
    return (
        f"host={details.writer.host}",
        "hostaddr=127.0.0.1",
        f"port={details.port}",
        f"dbname={details.facts.database}",
        f"user={details.facts.role}",
        "sslmode=verify-full",
        f"sslrootcert={bundle}",
    )


def _password(details: ConnectionDetails) -> str:
    if details.facts.token is TokenSource.LOCAL:
        return f"what this prints: {local_token_command(details)}"
    return "the token"


def _written_out(path: str) -> str:
    return path.replace(_HOME, _WRITTEN_HOME)


def _home_note(details: ConnectionDetails) -> str:
    return _FULL_HOME if details.certificate_bundle.startswith(_HOME) else ""


def _profile(details: ConnectionDetails) -> tuple[str, ...]:
    return (f"--profile {details.facts.profile}",) if details.facts.profile else ()


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
