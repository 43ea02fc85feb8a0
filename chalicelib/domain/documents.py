"""The document of an execution: what its input holds, so that every path a later state reads exists from the start."""

from typing import Any

from chalicelib.domain.endings import Outcome, Purpose
from chalicelib.domain.locations import MAIN_PROVISIONER


def new_document(request_id: str, purpose: Purpose) -> dict[str, Any]:
    """The input of an execution. Later states fill in one key each; nobody rewrites another's.

    The order and the receipt start as null, which claims nothing: only the ledger can say that there is nothing to revoke.
    The provisioner stands in until the grant says which one reaches its database.
    """
    unanswered = {"is_ok": False, "error": {"Error": "", "Cause": ""}}
    return {
        "request_id": request_id,
        "purpose": str(purpose),
        "policy": {"answer": "", "reason": "", "remind_seconds": 0, "wait_seconds": 0},
        "approval": {"verdict": "", "reason": ""},
        "confirmation": {"is_confirmed": False, "reason": ""},
        "extension": {"is_confirmed": False, "reason": ""},
        "database": {"order": None, "provisioner": MAIN_PROVISIONER},
        "prepared": {"bastion": unanswered, "database_user": unanswered},
        "end": {"is_ending": False, "has_news": False, "wait_seconds": 0},
        "failure": {"Error": "", "Cause": ""},
        "revocation": {"receipt": None},
        "closing": {"tunnels": {"ended": [], "kept": [], "unattributed": []}},
        "review": {"is_closed": False, "wait_seconds": 0},
        "report": {"outcome": str(Outcome.FAILED)},
    }
