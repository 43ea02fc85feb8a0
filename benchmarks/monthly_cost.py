"""What a month costs on AWS, reckoned from listed prices and from the counts in request_lives.json. It asks AWS nothing.

`python -m benchmarks.monthly_cost` prints the tables of docs/cost.md; with `--write` it puts them there.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.defaults import DURATIONS
from chalicelib.domain.costs import BASTION_HOUR, DISK_MONTH, HOURS_IN_A_MONTH, SECRET_MONTH

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cost.md"
COUNTS: dict[str, Any] = json.loads(Path(__file__).with_name("request_lives.json").read_text(encoding="utf-8"))
FUNCTIONS = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))["stages"]["prod"][
    "lambda_functions"
]
DEFINITION = json.loads((ROOT / "statemachines" / "access_request.asl.json").read_text(encoding="utf-8"))

PRICES = {
    "Lambda, a million requests": (0.20, "lambda"),
    "Lambda, a GB-second on arm64": (0.0000133334, "lambda"),
    "Step Functions, 1,000 transitions": (0.025, "step-functions"),
    "API Gateway, a million REST requests": (3.50, "api-gateway"),
    "DynamoDB, a million write units": (0.625, "dynamodb"),
    "DynamoDB, a million read units": (0.125, "dynamodb"),
    "DynamoDB, a GB-month": (0.25, "dynamodb"),
    "DynamoDB, a GB-month of point-in-time recovery": (0.20, "dynamodb"),
    "CloudWatch, a GB of logs": (0.50, "cloudwatch"),
    "CloudWatch, a GB-month of kept logs": (0.03, "cloudwatch"),
    "X-Ray, a million traces": (5.00, "xray"),
    "Secrets Manager, a secret": (SECRET_MONTH, "secrets-manager"),
    "Secrets Manager, 10,000 calls": (0.05, "secrets-manager"),
    "EventBridge, a rule on a schedule": (0.0, "eventbridge"),
    "EC2, an hour of t4g.nano": (BASTION_HOUR, "ec2/on-demand"),
    "EBS, 8 GiB of gp3 for a month": (DISK_MONTH, "ebs"),
    "NAT gateway that is there, a GB": (0.045, "vpc"),
    "data out to the internet, a GB": (0.09, "ec2/on-demand"),
    "S3, a GB-month": (0.023, "s3"),
}
"""Dollars in us-east-1, and the page https://aws.amazon.com/PAGE/pricing/."""
PAGES = {"ec2/on-demand": "https://aws.amazon.com/ec2/pricing/on-demand/"}
FROM_MEMORY = {
    "DynamoDB, a GB-month",
    "DynamoDB, a GB-month of point-in-time recovery",
    "CloudWatch, a GB-month of kept logs",
    "Secrets Manager, 10,000 calls",
    "data out to the internet, a GB",
    "NAT gateway that is there, a GB",
    "S3, a GB-month",
    "EventBridge, a rule on a schedule",
}
COPIED = {"Step Functions, 1,000 transitions", "X-Ray, a million traces"}

FREE = {
    "Lambda, a million requests": 1,
    "Lambda, a GB-second on arm64": 400_000,
    "Step Functions, 1,000 transitions": 4,
    "CloudWatch, a GB of logs": 5,
    "CloudWatch, a GB-month of kept logs": 5,
    "DynamoDB, a GB-month": 25,
    "X-Ray, a million traces": 0.1,
    "data out to the internet, a GB": 100,
}
"""What AWS gives every account for good each month. Other things in the account use it up too."""

BREAKERS = [
    ("NAT gateway made only for this", 0.045 * HOURS_IN_A_MONTH, "vpc", "and $0.045 a GB"),
    (
        "interface endpoints ssm, ssmmessages, ec2messages in one zone",
        3 * 0.01 * HOURS_IN_A_MONTH,
        "privatelink",
        "in two zones twice that",
    ),
    ("public IPv4 address while running, 2 h a day", 0.005 * 61, "vpc", "instead of a NAT; always on $3.65"),
    ("RDS Proxy, 2 vCPU", 0.015 * 2 * HOURS_IN_A_MONTH, "rds/proxy", "from memory; not needed"),
    ("dashboard beyond the account's 3 free ones", 3.00, "cloudwatch", "none is made"),
    ("customer KMS key", 1.00, "kms", "from memory; none is made"),
    ("second secret", SECRET_MONTH, "secrets-manager", "both of Slack's are one"),
    ("custom metric beyond the account's 10 free ones", 0.30, "cloudwatch", "from memory; each"),
    ("alarm beyond the account's 10 free ones", 0.10, "cloudwatch", "from memory; each"),
]

COLD_SECONDS = {256: 3.9, 512: 1.6, 1769: 0.3}
"""Assumed: a cold start by memory. It was measured for the API's function alone, with Lambda's share of a processor emulated."""
VCPU_MEGABYTES = 1769
PLATFORM_LOG_BYTES = 600
"""Assumed: Lambda's own lines about one run."""
TRANSITION_LOG_BYTES = 1200
"""Assumed: two events for each transition, without execution data."""
BOOT_SECONDS = 60
"""Assumed: from RunInstances until the agent is connected."""
TUNNEL_GIGABYTES, AGENT_GIGABYTES, SLACK_GIGABYTES = 0.005, 0.001, 0.0001
"""Assumed: through a grant's tunnel, of the agent in an hour, and to Slack for a request."""
HOUSEKEEPING_RUNS = HOURS_IN_A_MONTH * 60 / 5
KEPT_MONTHS = 12
PACKAGE_GIGABYTES = 0.05
MIX = {
    "automatic": 0.50,
    "approved": 0.30,
    "approved after the reminder": 0.05,
    "extended, ended by its holder": 0.10,
    "denied": 0.03,
    "nobody answered": 0.02,
}
"""Assumed: what kinds of requests a month holds."""
REQUESTS = (0, 20, 200, 2000)
GOAL_BUSY, GOAL_IDLE, PROMISE = 1.20, 0.50, 3.00


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """How long a bastion runs: so many hours in one stretch, on so many days of a week. None: not at all."""

    name: str
    a_day: float
    days_a_week: int
    days_a_month: float

    @property
    def running(self) -> float:
        """Hours in a month."""
        return min(self.a_day * self.days_a_month, HOURS_IN_A_MONTH)

    @property
    def boots(self) -> float:
        """Instances that start in a month: one on each day, or one a week where they are only replaced."""
        return self.days_a_month if self.a_day < 24 else HOURS_IN_A_MONTH * 3600 / DURATIONS.terminate_after_launched

    def disk(self, kept_seconds: int) -> float:
        """Hours in a month in which the disk is there, terminated so long after the stop."""
        if not self.days_a_week:
            return 0.0
        kept = kept_seconds / 3600
        night, weekend = 24 - self.a_day, 24 * (8 - self.days_a_week) - self.a_day
        week = self.days_a_week * self.a_day + (self.days_a_week - 1) * min(night, kept) + min(weekend, kept)
        return min(week * self.days_a_month / self.days_a_week, HOURS_IN_A_MONTH)


TWO_HOURS = Hours(name="2 h a day", a_day=2, days_a_week=7, days_a_month=HOURS_IN_A_MONTH / 24)
NEVER = Hours(name="nobody asks", a_day=0, days_a_week=0, days_a_month=0)
PATTERNS = (
    TWO_HOURS,
    Hours(name="2 h on 22 workdays", a_day=2, days_a_week=5, days_a_month=22),
    Hours(name="8 h on 22 workdays", a_day=8, days_a_week=5, days_a_month=22),
    Hours(name="always on", a_day=24, days_a_week=7, days_a_month=HOURS_IN_A_MONTH / 24),
)

Amounts = dict[str, float]


def main() -> None:
    """Print the tables, or put them on the page."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
    else:
        print(tables())


def tables() -> str:
    """All of them, each under its title."""
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections())


def with_tables(page: str, text: str) -> str:
    """The page with these tables between its markers."""
    head, _, rest = page.partition("<!-- tables -->\n")
    return f"{head}<!-- tables -->\n{text}\n<!-- /tables -->{rest.partition('<!-- /tables -->')[2]}"


def sections() -> Iterator[tuple[str, str]]:
    """Every table with its title, from the sum to what it is made of."""
    yield "The month", _months()
    yield "The goals", _goals()
    yield "What comes on top, and what breaks $3", _breakers()
    yield "200 requests at 2 h a day, by resource", _resources()
    yield "When the stopped bastion is terminated", _terminations()
    yield "The life of a request", _lives()
    yield "The functions", _functions()
    yield "Prices", _prices()


def month_cost(
    requests: int, hours: Hours, *, kept_seconds: int = DURATIONS.terminate_after_stopped, free: bool = False
) -> float:
    """Dollars of a month."""
    return cost_of(month_amounts(requests, hours, kept_seconds=kept_seconds), free=free)


def month_amounts(requests: int, hours: Hours, *, kept_seconds: int = DURATIONS.terminate_after_stopped) -> Amounts:
    """How much of everything that has a price a month uses."""
    amounts = dict.fromkeys(PRICES, 0.0)
    for part, times in ((_standing(), 1), (_request(), requests), (_boot(), min(requests, hours.boots))):
        for name, amount in part.items():
            amounts[name] += times * amount
    amounts["EC2, an hour of t4g.nano"] = hours.running
    amounts["EBS, 8 GiB of gp3 for a month"] = hours.disk(kept_seconds) / HOURS_IN_A_MONTH
    amounts["NAT gateway that is there, a GB"] += hours.running * AGENT_GIGABYTES
    return amounts


def request_cost() -> float:
    """Dollars of a request of the usual mix, its bastion aside."""
    return cost_of(_request())


def housekeeping_cost() -> float:
    """Dollars of a month in which nobody asks, the secret aside."""
    return cost_of(_standing()) - SECRET_MONTH


def cost_of(amounts: Amounts, *, free: bool = False) -> float:
    """Dollars, where asked with what is free for good."""
    return sum(PRICES[name][0] * _billed(name, amount, free=free) for name, amount in amounts.items())


def _billed(name: str, amount: float, *, free: bool) -> float:
    return max(0.0, amount - FREE.get(name, 0)) if free else amount


def _standing() -> Amounts:
    """What is used whether or not anybody asks."""
    amounts = dict.fromkeys(PRICES, 0.0)
    for name, used in COUNTS["housekeeping"].items():
        _add_runs(amounts, name, HOUSEKEEPING_RUNS, cold=False)
        amounts["DynamoDB, a million read units"] += HOUSEKEEPING_RUNS * used["reads"] / 1e6
        amounts["DynamoDB, a million write units"] += HOUSEKEEPING_RUNS * used["writes"] / 1e6
        amounts["CloudWatch, a GB of logs"] += HOUSEKEEPING_RUNS * used["log_bytes"] / 1e9
        amounts["EventBridge, a rule on a schedule"] += 1
    amounts["CloudWatch, a GB-month of kept logs"] = amounts["CloudWatch, a GB of logs"]
    amounts["Secrets Manager, a secret"] = 1
    amounts["S3, a GB-month"] = PACKAGE_GIGABYTES
    return amounts


def _request() -> Amounts:
    """What one request of the usual mix uses."""
    amounts = dict.fromkeys(PRICES, 0.0)
    for life, share in MIX.items():
        for name, amount in _life(life).items():
            amounts[name] += share * amount
    return amounts


def _life(name: str) -> Amounts:
    """What one life uses, a bastion's hours aside."""
    used = COUNTS["lives"][name]
    amounts = dict.fromkeys(PRICES, 0.0)
    functions, transitions = used["functions"], _transitions(used)
    for function, times in functions.items():
        _add_runs(amounts, function, times, cold=True)
    amounts["Step Functions, 1,000 transitions"] = transitions / 1000
    amounts["API Gateway, a million REST requests"] = functions["APIHandler"] / 1e6
    amounts["DynamoDB, a million write units"] = used["writes"] / 1e6
    amounts["DynamoDB, a million read units"] = used["reads"] / 1e6
    kept = used["stored_bytes"] * KEPT_MONTHS / 1e9
    amounts["DynamoDB, a GB-month"] = amounts["DynamoDB, a GB-month of point-in-time recovery"] = kept
    amounts["CloudWatch, a GB of logs"] += (used["log_bytes"] + transitions * TRANSITION_LOG_BYTES) / 1e9
    amounts["CloudWatch, a GB-month of kept logs"] = amounts["CloudWatch, a GB of logs"]
    amounts["X-Ray, a million traces"] = used["executions"] / 1e6
    amounts["Secrets Manager, 10,000 calls"] = sum(functions.get(each, 0) for each in COUNTS["read_the_secret"]) / 1e4
    amounts["data out to the internet, a GB"] = SLACK_GIGABYTES
    amounts["NAT gateway that is there, a GB"] = TUNNEL_GIGABYTES if "HoldAccess" in used["states"] else 0.0
    return amounts


def _boot() -> Amounts:
    """What the workflow uses while an instance boots, asking again until it is up: only the first of these runs is cold."""
    amounts = dict.fromkeys(PRICES, 0.0)
    _add_runs(amounts, "EnsureBastionRunning", boot_retries(), cold=False)
    amounts["Step Functions, 1,000 transitions"] = boot_retries() / 1000
    return amounts


def _transitions(used: dict[str, Any]) -> int:
    """Steps entered, one for the start of each execution, and each Retry."""
    return int(sum(used["states"].values()) + used["executions"] + used["retries"])


def boot_retries() -> int:
    """How often the workflow asks again while an instance boots, by the Retry in the definition."""
    branches = [branch for state in DEFINITION["States"].values() for branch in state.get("Branches", ())]
    states = next(branch["States"] for branch in branches if "EnsureBastionRunning" in branch["States"])
    rules = states["EnsureBastionRunning"]["Retry"]
    retry = next(rule for rule in rules if "BastionNotReadyError" in rule["ErrorEquals"])
    waited, pause, times = 0.0, retry["IntervalSeconds"], 0
    while waited < BOOT_SECONDS:
        waited, times = waited + pause, times + 1
        pause = min(pause * retry["BackoffRate"], retry["MaxDelaySeconds"])
    return times


def _add_runs(amounts: Amounts, function: str, times: float, *, cold: bool) -> None:
    amounts["Lambda, a million requests"] += times / 1e6
    amounts["Lambda, a GB-second on arm64"] += times * billed_seconds(function, cold=cold) * memory(function) / 1024
    amounts["CloudWatch, a GB of logs"] += times * PLATFORM_LOG_BYTES / 1e9


def memory(function: str) -> int:
    """Megabytes, as deployed."""
    words = "api_handler" if function == "APIHandler" else re.sub(r"(?<!^)(?=[A-Z])", "_", function).lower()
    return int(FUNCTIONS[words]["lambda_memory_size"])


def billed_seconds(function: str, *, cold: bool) -> float:
    """The time measured here, its processor's part stretched to the function's share of one, and the cold start."""
    measured, share = COUNTS["functions"][function], VCPU_MEGABYTES / memory(function)
    warm = measured["wall"] + measured["processor"] * max(0.0, share - 1)
    return float(warm + (COLD_SECONDS[memory(function)] if cold else 0))


# The tables


def _months() -> str:
    rows = [["nobody asks", "0", "0", "0", _dollars(month_cost(0, NEVER)), _dollars(month_cost(0, NEVER, free=True))]]
    rows += [
        [
            hours.name,
            f"{requests:,}",
            f"{hours.running:.0f}",
            f"{hours.disk(DURATIONS.terminate_after_stopped):.0f}",
            _dollars(month_cost(requests, hours)),
            _dollars(month_cost(requests, hours, free=True)),
        ]
        for hours in PATTERNS
        for requests in REQUESTS[1:]
    ]
    return _table(["the bastion runs", "requests", "h running", "h with a disk", "a month", "with what is free"], rows)


def _goals() -> str:
    busy, idle = month_cost(200, TWO_HOURS), month_cost(0, NEVER)
    rows = [
        ["200 requests at 2 h a day", _dollars(GOAL_BUSY), _dollars(busy), _met(busy <= GOAL_BUSY)],
        ["nobody asks", _dollars(GOAL_IDLE), _dollars(idle), _met(idle <= GOAL_IDLE)],
    ]
    rows += [
        [f"200 requests, {hours.name}", _dollars(PROMISE), _dollars(cost), _met(cost <= PROMISE)]
        for hours in PATTERNS[1:]
        for cost in [month_cost(200, hours)]
    ]
    return _table(["month, with an existing NAT", "at most", "reckoned", "met"], rows)


def _breakers() -> str:
    base = month_cost(200, TWO_HOURS)
    rows = [
        [f"[{name}]({_address(page)})", _dollars(price), note, _dollars(base + price)]
        for name, price, page, note in BREAKERS
    ]
    return _table(["beyond the design", "a month", "", "the month of 200 requests at 2 h a day is then"], rows)


def _resources() -> str:
    amounts = month_amounts(200, TWO_HOURS)
    rows = [
        [
            name,
            f"{amount:,.4g}",
            _dollars(PRICES[name][0] * amount, 4),
            _dollars(PRICES[name][0] * _billed(name, amount, free=True), 4),
        ]
        for name, amount in amounts.items()
    ]
    rows.append(["**together**", "", _dollars(cost_of(amounts), 4), _dollars(cost_of(amounts, free=True), 4)])
    return _table(["resource and unit", "units", "a month", "with what is free"], rows)


def _terminations() -> str:
    times = sorted({0, 3600, 4 * 3600, 24 * 3600, DURATIONS.terminate_after_stopped})
    rows = [
        [
            f"{seconds // 3600} h{' (default)' if seconds == DURATIONS.terminate_after_stopped else ''}",
            *(_dollars(month_cost(200, hours, kept_seconds=seconds)) for hours in PATTERNS[:3]),
        ]
        for seconds in times
    ]
    return _table(["terminated after", *(f"200 requests, {hours.name}" for hours in PATTERNS[:3])], rows)


def _lives() -> str:
    rows = []
    for name, used in COUNTS["lives"].items():
        runs = sum(used["functions"].values())
        cells = [_transitions(used), runs, used["functions"]["APIHandler"], f"{used['writes']:g}", f"{used['reads']:g}"]
        rows.append([name, f"{MIX[name]:.0%}", *map(str, cells), _dollars(cost_of(_life(name)), 5)])
    rows.append(["the mix", "100%", "", "", "", "", "", _dollars(request_cost(), 5)])
    head = [
        "life",
        "of the month",
        "transitions",
        "runs of functions",
        "of them the API's",
        "write units",
        "read units",
        "costs",
    ]
    return _table(head, rows)


def _functions() -> str:
    rows = []
    for name, measured in COUNTS["functions"].items():
        cold = name not in COUNTS["housekeeping"]
        runs = sum(share * COUNTS["lives"][life]["functions"].get(name, 0) for life, share in MIX.items())
        times = f"{runs:.2f} a request" if cold else f"{HOUSEKEEPING_RUNS:,.0f} a month"
        numbers = [str(memory(name)), times, f"{measured['wall'] * 1000:.0f}", f"{measured['processor'] * 1000:.0f}"]
        rows.append([name, *numbers, f"{billed_seconds(name, cold=cold):.2f}"])
    return _table(["function", "MB", "runs", "measured, ms", "of them processor, ms", "reckoned, s"], rows)


def _prices() -> str:
    rows = [
        [
            name,
            f"${price:.10f}".rstrip("0").rstrip(".") if price else "free",
            _free(name),
            f"[page]({_address(page)})",
            _known(name),
        ]
        for name, (price, page) in PRICES.items()
    ]
    return _table(["what", "price", "free for good each month", "source", "known"], rows)


def _free(name: str) -> str:
    return f"{FREE[name]:,g}" if name in FREE else ""


def _known(name: str) -> str:
    if name in FROM_MEMORY:
        return "from memory"
    return "a copy of AWS's page" if name in COPIED else "at second hand"


def _address(page: str) -> str:
    return PAGES.get(page, f"https://aws.amazon.com/{page}/pricing/")


def _met(is_met: bool) -> str:
    return "yes" if is_met else "**no**"


def _dollars(amount: float, digits: int = 2) -> str:
    return f"${amount:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["--:" if column else "---" for column in range(len(head))]
    return "\n".join(
        "|".join(["", *(f" {cell} " if cell else " " for cell in cells), ""]) for cells in (head, rule, *rows)
    )


if __name__ == "__main__":
    main()
