"""What must hold in every world, whatever broke in it. Each finding is a sentence."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from chalicelib.domain.permissions import PermissionLevel
from local import seed
from tests.faults.stories import People
from tests.faults.trail import find_faults
from tests.faults.world import World

END_SECONDS = 25 * 60.0
"""How long after its end somebody may still be in. Reconciliation comes within 2 + 5 minutes, and a function that hangs is given
up after at most 10 more; the rest is retries."""
PROMPT_SECONDS = 90.0
"""The same where nothing broke."""
GRACE_SECONDS = 300 + 2 * 300 + 120.0
"""How long a bastion may run without a lease: the grace, and two rounds of housekeeping, of which one may fail."""
_LOOK_SECONDS = 60.0
_IN = """
SELECT rolname, rolcanlogin,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid),
       (SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = r.oid AND g.rolname <> 'rds_iam')
FROM pg_roles r WHERE rolname LIKE 'jit\\_%'
"""


PRESSED = {"approve", "deny", "cancel", "end", "extend", "extend_30", "show_token"}
"""The buttons of a request that is under way. A card of which we did not learn in time keeps them, and each press is answered
with what has become of the request."""


class Watch:
    """Looks at one world while it goes on, and once it is over."""

    def __init__(self, world: World, people: People) -> None:
        self._world, self._people = world, people
        self._found: dict[str, None] = {}
        self._unleased_since: dict[str, float] = {}
        self._ends: dict[str, float] = {}

    def look_again_and_again(self) -> None:
        while True:
            self._world.scheduler.sleep(_LOOK_SECONDS)
            for finding in (*self._late_ends(), *self._idle_bastions()):
                self._found[finding] = None

    def conclude(self, *, is_quiet: bool) -> list[str]:
        """Everything that was found."""
        checks = (
            self._late_ends(),
            self._unentitled(),
            self._requests(),
            self._bastions(),
            self._executions(),
            self._leftovers(),
            self._questions(),
            self._objects(),
            self._secrets(),
            self._audit(),
            self._policies(),
            self._stand_ins(),
        )
        for check in checks:
            for finding in check:
                self._found[finding] = None
        if not is_quiet:
            self._found[f"it never came to rest: {self._restless()}"] = None
        return list(self._found)

    def _restless(self) -> str:
        world = self._world
        running = [name for name, each in world.machine.executions.items() if each.status == "RUNNING"]
        up = [
            f"{each.instance_id} {each.state}"
            for each in world.instances()
            if each.state not in {"stopped", "terminated"}
        ]
        watched = [item["pk"] for item in world.rows() if "watch" in item and not item["pk"].startswith("HISTORY#")]
        return re.sub(
            r"R-\w{6}|i-\w{17}", "…", f"running {running}, instances {up}, watched {watched}, busy {self._people.busy}"
        )

    def _late_ends(self) -> Iterator[str]:
        """No login is possible and no session alive after the end."""
        now, bound = self._world.now(), END_SECONDS if self._world.gate.plan else PROMPT_SECONDS
        due = {}
        for item in self._world.rows("GRANT#"):
            grant = item["grant"]
            due[grant["facts"]["person"]["name"], grant["facts"]["level"]] = (item["state"], item["ends_at"])
        for role, can_log_in, sessions, memberships in self._world.ground.root.execute(_IN).fetchall():
            if not (can_log_in or sessions or memberships):
                continue
            level, name = re.fullmatch(r"jit_\w+?_([rwo])_(\w+)", role).groups()  # type: ignore[union-attr]  # its shape
            state, ends_at = due.get((name, level), ("absent", ""))
            end = _instant(ends_at) if ends_at else None
            late = (now - end).total_seconds() if end else bound + 1
            if state in {"gone", "absent"} and late > bound:
                yield f"{name} may still use the database ({level}) though the grant is {state}"
            elif late > bound:
                yield f"{name} may still use the database ({level}) {bound:.0f} seconds after the end"

    def _idle_bastions(self) -> Iterator[str]:
        """No bastion runs without a lease beyond the grace time."""
        world = self._world
        now = world.now()
        leased = {
            item["instance_id"]: any(_instant(until) > now for until in item["leases"].values())
            for item in world.rows("BASTION#")
        }
        for each in world.instances():
            if each.state == "running" and not leased.get(each.instance_id, False):
                since = self._unleased_since.setdefault(each.instance_id, world.scheduler.now)
                if world.scheduler.now - since > GRACE_SECONDS:
                    yield "a bastion runs though nobody has had a lease on it for long"
            else:
                self._unleased_since.pop(each.instance_id, None)

    def _unentitled(self) -> Iterator[str]:
        """No grant without the decisions of people entitled."""
        asked = {
            item["request"]["request_id"]: item["request"] for item in self._world.rows("REQUEST#") if "request" in item
        }
        catalogue = self._world.ground.catalogue
        for request_id in self._world.granted:
            request = asked.get(request_id)
            if request is None:
                yield "a grant of a request that the ledger does not know"
                continue
            rule = catalogue.require_location(request["location"]).levels[PermissionLevel(request["level"])]
            person = request["person"]["name"]
            is_broken = request["is_break_glass"] and rule.break_glass is not None and person in rule.break_glass.who
            yes = {
                who
                for who, which in self._people.yeses
                if which == request_id and who != person and who in rule.approvers
            }
            if not rule.automatic and not is_broken and len(yes) < rule.needed:
                yield f"{person} was granted {request['level']} without the decisions it needs"

    def _requests(self) -> Iterator[str]:
        """Every request reaches one named end and its cards say so."""
        found = self._world.rows("REQUEST#")
        for item in found:
            if item["sk"] == "REQUEST":
                yield from self._request(item)
        for request_id in self._people.asked:
            if not any(item["pk"] == f"REQUEST#{request_id}" for item in found):
                yield "a request that was confirmed to its asker is not in the ledger"

    def _request(self, item: dict[str, Any]) -> Iterator[str]:
        world, slack, request = self._world, self._world.ground.slack, item["request"]
        request_id, who = request["request_id"], request["person"]["name"]
        kind = "an extension" if request["extends"] else "a request"
        if "outcome" not in item:
            yield f"{kind} has no end"
            return
        decided = next((each for each in world.rows(f"REQUEST#{request_id}") if "decision" in each), None)
        if decided and item["outcome"] == "timed_out" and item["closed_at"] < decided["decision"]["closes_at"]:
            yield f"{kind} timed out before its time"
        known = world.cards_at_end.get(request_id, set())
        for place in ("C0APPROVALS", f"D0{who.upper()}"):
            for message in slack.look(place):
                left = sorted(set(_buttons(message, request_id)) & PRESSED)
                if left and (place, message["ts"]) in known:
                    yield f"a card of {kind} that ended ({item['outcome']}) still has buttons: {left}"
        is_told = any(request_id in str(message) for message in slack.look(f"D0{who.upper()}"))
        if not is_told and not request["extends"]:
            yield f"nobody was told how {kind} ended ({item['outcome']})"

    def _bastions(self) -> Iterator[str]:
        """No bastion is stopped under a lease, and none is started before there is one."""
        for action, leases in self._world.changes:
            if leases and action in {"StopInstances", "TerminateInstances"}:
                yield "a bastion was stopped under a lease"
            if not leases and action in {"StartInstances", "RunInstances"}:
                yield "a bastion was started without a lease"

    def _executions(self) -> Iterator[str]:
        """No execution dies without passing its end."""
        for execution in self._world.machine.executions.values():
            if execution.error.startswith("States."):
                yield f"an execution died of {execution.error} in {execution.entered[-1]}"

    def _leftovers(self) -> Iterator[str]:
        """No user, lease, grant, tunnel or task token is left over."""
        world = self._world
        for item in world.rows("GRANT#"):
            if item["state"] != "gone":
                yield f"a grant is left over ({item['state']})"
        for item in world.rows("BASTION#"):
            if item["leases"]:
                yield "a lease is left over"
        for role, *_ in world.ground.root.execute(_IN).fetchall():
            yield f"a database user is left over ({role.split('_')[2]})"
        active = world.sessions.handle("DescribeSessions", {"State": "Active"}, "")["Sessions"]
        if active:
            yield "a tunnel is left over"
        if world.open_tokens():
            yield "a task token still waits for an answer"
        for item in world.rows("PERSON#"):
            if item.get("open_count", 0) or any(name.startswith("slot:") for name in item):
                yield "a place among somebody's open requests is left over"

    def _questions(self) -> Iterator[str]:
        """No question is left open."""
        if any(item.get("watch") == "DECISION" for item in self._world.rows("REQUEST#")):
            yield "a question that nobody asks any more is left open"

    def _objects(self) -> Iterator[str]:
        """No object is lost."""
        for table in self._people.made:
            (found,) = self._world.ground.root.execute("SELECT to_regclass(%s)", [table]).fetchone() or (None,)
            if found is None:
                yield f"the table {table} is lost"

    def _secrets(self) -> Iterator[str]:
        """No token or secret is anywhere but in its owner's modal."""
        world, slack = self._world, self._world.ground.slack
        signatures = [token.partition("X-Amz-Signature=")[2][:64] for token in self._people.tokens]
        secrets = [seed.SIGNING_SECRET, seed.BOT_TOKEN, "local-function-secret", "X-Amz-Signature=", *signatures]
        places = {
            "the ledger": str(world.rows()),
            "the log": world.log(),
            "a history": str([(each.input, each.history, each.output) for each in world.machine.executions.values()]),
            "Slack": str([call for call in slack.calls if not call.name.startswith("views.")]),
        }
        for place, text in places.items():
            if any(secret and secret in text for secret in secrets):
                yield f"a secret is in {place}"
        tokens = {item["task_token"] for item in world.rows("REQUEST#") if "task_token" in item}
        if any(token in places["the log"] for token in tokens):
            yield "a task token is in the log"

    def _policies(self) -> Iterator[str]:
        """Every call to AWS is within the policy of the function that made it."""
        yield from self._world.ground.judge.refusals[self._world.refusals_before :]

    def _stand_ins(self) -> Iterator[str]:
        """What stands in for AWS did so."""
        yield from (f"a stand-in broke: {each}" for each in self._world.broken)

    def _audit(self) -> Iterator[str]:
        """The trail verifies."""
        yield from find_faults(self._world)


def _buttons(message: dict[str, Any], request_id: str) -> Iterator[str]:
    for block in message["blocks"]:
        for each in block.get("elements", []):
            if each.get("value") == request_id:
                yield each["action_id"]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
