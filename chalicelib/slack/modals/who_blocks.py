"""The query that shows who blocks whom, for people with operate access, and how they end a connection."""

from chalicelib.domain.blocking import WHO_BLOCKS_WHOM
from chalicelib.domain.requests import AccessRequest
from chalicelib.slack.blocks import View, bold, code, context, modal, preformatted, section

CALLBACK = "who_blocks"


def who_blocks_modal(*, request: AccessRequest) -> View:
    """One row for each connection that waits and each that it waits for. It ends nothing by itself."""
    return modal(
        "Who blocks whom",
        section(f"In psql, connected to {bold(request.location)}. One row for each that waits and each it waits for:"),
        preformatted(WHO_BLOCKS_WHOM.strip()),
        section(f"{code('blocking_pid')} is who holds the lock. This ends that connection, and is logged:"),
        preformatted("SELECT pg_kill_connection(BLOCKING_PID);"),
        section("A blocker without a name works in another database, or is a prepared transaction (pid 0)."),
        context(request.request_id),
        callback_id=CALLBACK,
        request_id=request.request_id,
    )
