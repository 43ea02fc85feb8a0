"""What the common tools want to know to reach a database through the tunnel. Pure; holds no token and no password."""

from dataclasses import dataclass
from urllib.parse import quote

from chalicelib.defaults import DURATIONS
from chalicelib.domain.connections import (
    CLIPBOARDS,
    POWERSHELL,
    ConnectionDetails,
    libpq_settings,
    local_token_command,
)
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.locations import TokenSource

WHY_SSL = (
    "Leave SSL on: the database takes a token over SSL alone, and without it the token could be read behind the bastion. "
    "verify-ca makes sure that the other end is Amazon's. JDBC cannot check its name as well, because it sees 127.0.0.1; "
    "psql and pgAdmin can."
)
_HOME = "$HOME/"
_WRITTEN_HOME = "YOUR-HOME/"
_FULL_HOME = "Write your home folder in full in place of YOUR-HOME, with forward slashes on Windows too."
_KEEP_NO_PASSWORD = (
    f"Do not let it keep the password: a token opens connections for {describe_duration(DURATIONS.token)},"
    " then a fresh one is needed."
)
_PASSWORD_FILE = ".drawbridge.pgpass"  # noqa: S105  # the name of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class GuiSetting:
    """What one tool wants to know: ``lines`` to type or paste as they stand, and what a person should know about them."""

    name: str
    lines: tuple[str, ...]
    note: str


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
            *libpq_settings(details, _written_out(details.certificate_bundle)),
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


def password_file_lines(details: ConnectionDetails) -> tuple[tuple[str, str], ...]:
    """For each system, the line that puts the token into the password file that the service of ``gui_settings`` names.

    libpq looks the password up by the host's name, not by 127.0.0.1, and ends it at the first colon that has no backslash
    (PostgreSQL: The Password File); a token holds one.
    """
    places = (details.writer.host, str(details.port), details.facts.database, details.facts.role, "")
    entry = ":".join(place.replace(":", "\\:") for place in places)
    make = local_token_command(details)
    is_local = details.facts.token is TokenSource.LOCAL
    sources = {"macOS, Linux": make} if is_local else CLIPBOARDS
    windows = f"({make})" if is_local else "(Get-Clipboard -Raw).Trim()"
    return (
        *(
            (
                system,
                f"""(umask 077; printf "%s\\n" "{entry}$({source} | sed 's/:/\\\\:/g')" > "$HOME/{_PASSWORD_FILE}")""",
            )
            for system, source in sources.items()
        ),
        (POWERSHELL, f"""Set-Content "$HOME/{_PASSWORD_FILE}" ("{entry}" + ({windows} -replace ":", "\\:"))"""),
    )


def _password(details: ConnectionDetails) -> str:
    if details.facts.token is TokenSource.LOCAL:
        return f"what this prints: {local_token_command(details)}"
    return "the token"


def _written_out(path: str) -> str:
    return path.replace(_HOME, _WRITTEN_HOME)


def _home_note(details: ConnectionDetails) -> str:
    return _FULL_HOME if details.certificate_bundle.startswith(_HOME) else ""


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
