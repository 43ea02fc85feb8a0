"""The whole product in virtual time: its real functions and definition, and around them everything they call, behind the gate."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from moto.ec2.models import ec2_backends
from slack_sdk.http_retry import builtin_handlers, handler
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from chalicelib.aws.attributes import from_attributes
from local import seed, stack, strict_asl
from local.api_gateway import http_response, proxy_event
from local.aws import API_FUNCTION, STAGE
from local.aws_calls import AwsCall
from local.ec2_delays import Ec2Delays
from local.identities import access_key_of
from local.lambdas import LambdaContext, Lambdas
from local.ssm.server import Instance
from local.workspace import TICK
from tests.faults.aws import Answer, Aws, ask_dynamo, ask_logs, ask_moto, read_form
from tests.faults.explore.dynamo import ModelDynamo
from tests.faults.gate import Call, Fault, Gate, Killed, Plan, Process
from tests.faults.interpreter import Invocation, RefusalError, StateMachine
from tests.faults.scheduler import Scheduler, Signal
from tests.faults.stand_ins import Sessions

if TYPE_CHECKING:
    from tests.faults.ground import Ground

PENDING_SECONDS, STOPPING_SECONDS, BOOT_SECONDS = 8.0, 20.0, 8.0
_CARDS = ("card", "asked_card", "soon_card")
_SIGNED_FOR = {"stepfunctions": "states"}
SCHEDULES = {"StopIdleBastions": 140.0, "ReconcileGrants": 260.0}
"""The functions that run every five minutes, and when first."""
EVERY_SECONDS = 300.0
ASYNCHRONOUS_RETRIES = (60.0, 120.0)
"""After how long Lambda tries an event again that a function failed on."""
TIMEOUTS = {
    "".join(word.title() for word in name.split("_")): float(settings["lambda_timeout"])
    for name, settings in json.loads((seed.ROOT / ".chalice" / "config.json").read_text())["stages"]["prod"][
        "lambda_functions"
    ].items()
}
LIMIT_BYTES = {"name": 80, "input": 256 * 1024, "output": 256 * 1024}
_EVENT_BYTES = 256 * 1024


class World:
    """One run. ``definition`` and ``handlers`` replace the product's own where a test plants a bug."""

    def __init__(
        self,
        ground: "Ground",
        plan: Plan,
        *,
        definition: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        handlers: Mapping[str, Callable[["World", Any], Any]] | None = None,
        latency: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.ground, self.scheduler = ground, Scheduler()
        self.gate = Gate(self.scheduler, plan, latency)
        # In the recent past: CloudWatch Logs takes nothing from the future, nor from a fortnight ago.
        self.start = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=5)
        self.dynamo = ModelDynamo()
        self.dynamo.create_table(TableName=seed.TABLE)
        self.aws = Aws(self._carry, self._through)
        self.machine = StateMachine(
            definition(_definition()), scheduler=self.scheduler, clock=self.now, invoke=self._invoke_for_state
        )
        self._own = handlers or {}
        self._lambdas = Lambdas(ground.handlers)
        self._ec2 = Ec2Delays(PENDING_SECONDS, STOPPING_SECONDS, lambda: self.scheduler.now)
        self.sessions = Sessions(
            find_instance=lambda wanted: next((each for each in self.instances() if each.instance_id == wanted), None),
            list_instances=self.instances,
            targets={},
            caller=_principal_of,
            clock=self.now,
            boot_seconds=BOOT_SECONDS,
        )
        self.sessions.documents += ground.documents
        self._running_since: dict[str, datetime] = {}
        self._api_is_free: Signal | None = None
        self.changes: list[tuple[str, list[str]]] = []
        """Each launch, start, stop and termination that took effect in time, and under which leases."""
        self.granted: dict[str, float] = {}
        """The requests whose grants were ever written."""
        self.cards_at_end: dict[str, set[tuple[str, str]]] = {}
        """By request: the cards that the ledger knew of when it closed the request."""
        self.broken: list[str] = []
        """What broke in the place of AWS: then nothing is shown."""
        self._launched_at: dict[str, datetime] = {}
        self._written: list[bytes] = []
        """What was asked of EC2 that may have changed something."""

    def __enter__(self) -> Self:
        self._undo = ExitStack()
        pauses = [(each, "time", SimpleNamespace(sleep=self._pause)) for each in (builtin_handlers, handler)]
        self._undo.enter_context(strict_asl.installed([*self._ec2.mends, *pauses]))
        self._undo.enter_context(self.sessions)
        self._undo.callback(self.scheduler.close)
        self.refusals_before = len(self.ground.judge.refusals)
        self.log_start = (self.ground.directory / "functions.log").stat().st_size
        self.ground.clock.read, self.ground.clock.pause = self.now, self._pause
        self.ground.wire.gate, self.ground.wire.process = self.gate, self._find_process
        self.ground.slack.through = self._through
        for name, first in SCHEDULES.items():
            self.scheduler.spawn(f"schedule {name}", partial(self._tick, name), at=first)
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def now(self) -> datetime:
        """This instant, in UTC."""
        return self.start + timedelta(seconds=self.scheduler.now)

    def _pause(self, seconds: float) -> None:
        if (process := self._find_process()) is not None:
            self.gate.require_alive(process)
        self.scheduler.sleep(seconds)

    def _find_process(self) -> Process | None:
        return self.scheduler.current.owner if self.scheduler.current else None

    def _through(self, call: Call, effect: Callable[[], Any]) -> Any:
        process = self._find_process()
        if process is None:
            return effect()
        named = Call(kind=call.kind, name=call.name, function=process.function, detail=call.detail, key=call.key)
        return self.gate.run(process, named, effect)

    # Functions.

    def _invoke_for_state(self, function: str, payload: Any) -> Invocation:
        run = Invocation()
        self.scheduler.spawn(
            f"invoke {function}", partial(self._invoke, run, function, json.loads(json.dumps(payload)))
        )
        return run

    def _invoke(self, run: Invocation, function: str, payload: Any, *, kind: str = "Task") -> None:
        """Run a function, as the fault that is planned for this invocation lets it."""
        name = function.rpartition(":function:")[2]
        logical = name.rpartition("-")[2]
        call = Call(kind="lambda", name="lambda.Invoke", function=logical, detail=kind, site=f"{logical} {kind}")
        fault = self.gate.count(call)
        self.scheduler.sleep(0.03)
        errors = {
            Fault.THROTTLED: "Lambda.TooManyRequestsException",
            Fault.SERVER_ERROR: "Lambda.ServiceException",
            Fault.RESET: "Lambda.SdkClientException",
            Fault.LATE: "Lambda.SdkClientException",
            Fault.KILLED_BEFORE: "Runtime.ExitError",
        }
        if fault is Fault.SLOW:
            self.scheduler.sleep(20.0)
        if fault is Fault.LATE:
            late = partial(self._execute, Invocation(), name, logical, payload)
            self.scheduler.spawn(f"late {logical}", late, at=self.scheduler.now + 90.0)
        if fault is Fault.REPEATED:
            self.scheduler.spawn(f"again {logical}", partial(self._execute, Invocation(), name, logical, payload))
        if fault in errors:
            run.error = errors[fault]
            run.cause = json.dumps({"errorType": run.error, "errorMessage": "planned"})
            self.scheduler.set(run.is_over)
        elif fault in {Fault.ANSWER_LOST, Fault.TIMED_OUT}:
            if fault is Fault.ANSWER_LOST:
                self._execute(Invocation(), name, logical, payload)
            if "task_token" in payload:
                # Step Functions gives up the call, not the wait. Where it waits for the call alone, the task's time is up first.
                self.scheduler.sleep(TIMEOUTS[logical] + 5.0)
                run.error, run.cause = "Lambda.ClientExecutionTimeoutException", "{}"
                self.scheduler.set(run.is_over)
        elif fault is Fault.KILLED_AFTER:
            self._execute(Invocation(), name, logical, payload)
            run.error, run.cause = "Runtime.ExitError", json.dumps({"errorType": "Runtime.ExitError"})
            self.scheduler.set(run.is_over)
        else:
            self._execute(run, name, logical, payload)

    def _execute(self, run: Invocation, name: str, logical: str, payload: Any) -> None:
        """Run a function to its end, in a process of its own."""
        process = Process(logical, self.scheduler.now + TIMEOUTS.get(logical, 60.0))

        def live() -> None:
            try:
                own = self._own.get(logical)
                run.value = own(self, payload) if own else self._lambdas.call(name, payload, LambdaContext(name))
            except Killed:
                pass
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is its function's error
                run.error = type(error).__name__
                run.cause = json.dumps({"errorType": run.error, "errorMessage": str(error), "stackTrace": []})
            process.is_over = True
            if process.is_dead:
                run.error = "Sandbox.Timedout" if self.scheduler.now >= process.deadline else "Runtime.ExitError"
                run.cause = json.dumps({"errorType": run.error, "errorMessage": "planned"})
            self.scheduler.set(run.is_over)

        self.scheduler.spawn(logical, live, owner=process)
        self.scheduler.wait(run.is_over)

    def call(self, logical: str, payload: Any) -> Any:
        """What the product's own function makes of a payload, for a function that a test puts in its place."""
        name = next(name for name in self.ground.handlers if name.rpartition("-")[2] == logical)
        return self._lambdas.call(name, payload, LambdaContext(name))

    def _invoke_for_event(self, function: str, payload: Any, kind: str) -> None:
        for pause in (*ASYNCHRONOUS_RETRIES, None):
            run = Invocation()
            self.scheduler.spawn(f"event {function}", partial(self._invoke, run, function, payload, kind=kind))
            is_over = self.scheduler.wait(run.is_over, seconds=900.0)
            if pause is None or (is_over and not run.error):
                return
            self.scheduler.sleep(pause)

    def _tick(self, name: str) -> None:
        while True:
            self.scheduler.spawn(f"tick {name}", partial(self._invoke_for_event, name, TICK, "schedule"))
            self.scheduler.sleep(EVERY_SECONDS)

    def api(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer one request to the API, in the name of the person who waits for it."""
        while self._api_is_free is not None:
            self.scheduler.wait(self._api_is_free)
        self._api_is_free = free = Signal()
        event = proxy_event(EnvironBuilder(path, method="POST", headers=headers, data=body).get_request(), STAGE)
        run = Invocation()
        try:
            self.scheduler.spawn("api", partial(self._invoke, run, API_FUNCTION, event, kind="API"))
            self.scheduler.wait(run.is_over, seconds=29.0)
        finally:
            self._api_is_free = None
            self.scheduler.set(free)
        failed = {"X-Amz-Function-Error": "Unhandled"} if run.error or not run.is_over.is_set else {}
        answer = http_response(Response(json.dumps(run.value), 200, failed, mimetype="application/json"))
        return answer.status_code, dict(answer.headers), answer.get_data()

    # AWS.

    def _carry(self, service: str, region: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        try:
            return self._carry_out(service, region, path, headers, body)
        except Exception as error:
            self.broken.append(f"{service}: {error!r}")
            raise

    def _carry_out(self, service: str, region: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
        operation = target.rpartition(".")[2]
        if (process := self._find_process()) is not None:
            self._judge_once(process, service, operation, path, body)
        if service == "stepfunctions":
            return self._answer_for_executions(operation, json.loads(body))
        if service == "lambda":
            function = _find_function(path)
            self.scheduler.spawn("event", partial(self._invoke_for_event, function, json.loads(body), "event"))
            return 202, {"x-amzn-RequestId": "event"}, b""
        if service == "ssm" and operation in self.sessions.OPERATIONS:
            return self._answer_for_sessions(operation, json.loads(body))
        if service == "dynamodb":
            answer = ask_dynamo(self.dynamo, operation, body)
            if answer[0] == 200:
                self._note_write(operation, body)
            return answer
        if operation == "PutLogEvents":
            return ask_logs(headers, body)
        if b"Action=Describe" in body:
            return self._describe_as_before(service, region, path, headers, body)
        if service == "ec2":
            self._written.append(body)
            self._note_change(read_form(body))
        answer = ask_moto(service, region, path, headers, body)
        self._date_instances()
        return answer

    def _note_write(self, operation: str, body: bytes) -> None:
        """Since when a grant stands, and which cards a request had that is closed."""
        if operation == "PutItem" and b'"GRANT#' in body:
            self.granted.setdefault(json.loads(body)["Item"]["request_id"]["S"], self.scheduler.now)
        if operation == "TransactWriteItems" and b"#outcome" in body:
            (request_id,) = set(re.findall(r"REQUEST#(R-\w{6})", body.decode()))
            self.cards_at_end[request_id] = {
                (item[name]["channel"], item[name]["ts"])
                for item in self.rows(f"REQUEST#{request_id}")
                for name in _CARDS
                if item.get(name) is not None
            }

    def _judge_once(self, process: Process, service: str, operation: str, path: str, body: bytes) -> None:
        """The judgement on a call to the ledger depends on that call alone, not on what there is at the moment."""
        call = hash((process.function, operation, body)) if service == "dynamodb" else None
        if call not in self.ground.judged and self._judge(process, service, operation, path, body) is None and call:
            self.ground.judged.add(call)

    def _judge(self, process: Process, service: str, operation: str, path: str, body: bytes) -> str | None:
        """IAM's word on a call, by the policy of its function: why it is refused, or None."""
        given: Mapping[str, Any] = {"FunctionName": _find_function(path)} if service == "lambda" else {}
        if service in {"ec2", "rds"}:
            given = read_form(body)
        elif service != "lambda":
            given = json.loads(body)
        return self.ground.judge(
            AwsCall(
                access_key_id=access_key_of(process.function),
                service=_SIGNED_FOR.get(service, service),
                operation={"ec2": given.get("Action"), "rds": given.get("Action"), "lambda": "Invoke"}.get(service)
                or operation,
                parameters=given,
            )
        )

    def _describe_as_before(self, service: str, region: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """EC2's and RDS's long answers, the same in every world in which the same has happened to the instances."""
        seen: tuple[object, ...] = (service, body)
        if service == "ec2":
            states = [(each.instance_id, each.state, self._launched_at[each.instance_id]) for each in self.instances()]
            seen = (*seen, *states, *self._written)
        described = self.ground.described
        if seen not in described:
            described[seen] = ask_moto(service, region, path, headers, body)
        return described[seen]

    def _date_instances(self) -> None:
        """What moto dates by this machine's clock, by ours."""
        for reservation in ec2_backends[seed.ACCOUNT][seed.REGION].reservations.values():
            for instance in reservation.instances:
                if instance.id not in self._launched_at:
                    self._launched_at[instance.id] = instance.launch_time = self.now().replace(tzinfo=None)

    def _note_change(self, form: Mapping[str, str]) -> None:
        """Which leases there are at the moment at which an instance is started or stopped."""
        if self.scheduler.current is not None and self.scheduler.current.name.startswith("late "):
            return
        asked = form.get("InstanceId.1")
        for item in self.rows("BASTION#") or [{"instance_id": asked, "leases": {}}]:
            if asked in {None, item["instance_id"]}:
                until = {name: datetime.fromisoformat(each) for name, each in item["leases"].items()}
                self.changes.append((form["Action"], [name for name, each in until.items() if each > self.now()]))

    def _answer_for_sessions(self, operation: str, asked: Any) -> Answer:
        try:
            return 200, {}, json.dumps(self.sessions.handle(operation, asked, "")).encode()
        except Exception as error:
            if not hasattr(error, "code"):
                raise
            return 400, {}, json.dumps({"__type": error.code, "message": str(error)}).encode()

    def _answer_for_executions(self, operation: str, asked: Any) -> Answer:
        for name, limit in LIMIT_BYTES.items():
            if len(asked.get(name, "")) > limit:
                return 400, {}, json.dumps({"__type": "ValidationException", "message": name}).encode()
        try:
            return 200, {}, json.dumps(getattr(self, f"_{operation}")(**asked)).encode()
        except RefusalError as refusal:
            return 400, {}, json.dumps({"__type": str(refusal), "message": "refused"}).encode()

    def _StartExecution(self, *, stateMachineArn: str, name: str, input: str) -> Any:  # noqa: A002, N802, N803 - AWS's names
        self.machine.start(name, input)
        return self._describe(name)

    def _SendTaskSuccess(self, *, taskToken: str, output: str) -> Any:  # noqa: N802, N803 - AWS's names
        json.loads(output)
        self.machine.succeed(taskToken)
        return {}

    def _DescribeExecution(self, *, executionArn: str) -> Any:  # noqa: N802, N803 - AWS's names
        name = executionArn.rpartition(":")[2]
        if name not in self.machine.executions:
            raise RefusalError("ExecutionDoesNotExist")
        return self._describe(name)

    def _ListExecutions(self, *, stateMachineArn: str, statusFilter: str, maxResults: int = 100) -> Any:  # noqa: N802, N803 - AWS's names
        found = [name for name, each in self.machine.executions.items() if each.status == statusFilter]
        return {"executions": [self._describe(name) for name in reversed(found)]}

    def _describe(self, name: str) -> Any:
        execution = self.machine.executions[name]
        arn = self.ground.arn.replace(":stateMachine:", ":execution:") + f":{name}"
        started = (self.start + timedelta(seconds=execution.started_at)).timestamp()
        described = {"executionArn": arn, "stateMachineArn": self.ground.arn, "name": name, "status": execution.status}
        return described | {"startDate": started, "input": execution.input}

    # What there is to see.

    def rows(self, kind: str = "") -> list[dict[str, Any]]:
        """The ledger's items, all or of one kind."""
        return [from_attributes(item) for item in self._items(kind)]

    def is_anything_watched(self) -> bool:
        """Is anything in the index by which reconciliation finds what is open?"""
        kinds = {item["watch"]["S"] for item in self._items() if "watch" in item}
        return bool(kinds & {"GRANT", "REQUEST", "DECISION", "REVIEW"})

    def _items(self, kind: str = "") -> Iterator[dict[str, Any]]:
        for (partition, _), item in list(self.dynamo.tables[seed.TABLE].items()):
            if partition.startswith(kind):
                yield item

    def open_tokens(self) -> set[str]:
        """The task tokens that somebody may answer."""
        return self.machine.open_tokens()

    def instances(self) -> list[Instance]:
        """EC2's instances; an agent starts booting when its instance is first seen running."""
        states = {
            instance.id: instance.instance_state.name
            for reservation in ec2_backends[seed.ACCOUNT][seed.REGION].reservations.values()
            for instance in reservation.instances
        }
        for name, state in states.items():
            if state == "running":
                self._running_since.setdefault(name, self.now())
            else:
                self._running_since.pop(name, None)
        since = self._running_since
        return [Instance(instance_id=name, state=states[name], running_since=since.get(name)) for name in states]

    def log(self) -> str:
        """What the functions logged in this world."""
        with (self.ground.directory / "functions.log").open(encoding="utf-8", errors="replace") as file:
            file.seek(self.log_start)
            return file.read()


def _find_function(path: str) -> str:
    return re.sub("^.*/functions/(.*)/invocations$", r"\1", path)


def _definition() -> dict[str, Any]:
    arn = f"arn:aws:lambda:{seed.REGION}:{seed.ACCOUNT}:function:"
    text = (seed.ROOT / "statemachines" / "access_request.asl.json").read_text(encoding="utf-8")
    return dict(
        json.loads(re.sub(r"\$\{(\w+)Arn\}", arn + r"\1", text.replace("${DatabaseFunctions}", arn + stack.STACK)))
    )


def _principal_of(who: str) -> str:
    """The AWS identity with which somebody opens tunnels, as the catalogue has it."""
    return f"arn:aws:sts::{seed.ACCOUNT}:assumed-role/Developer/{who or 'functions'}@example.com"
