"""The Slack endpoint in a process of its own, as another Lambda instance: answers events from standard input, each at its time.

Lines in: ``{"event": …, "at": seconds of the machine's monotonic clock}``. Lines out: ``{"status": …, "body": …}``. The
environment is the workspace's.
"""

import json
import logging
import sys
import time

from local.lambdas import LambdaContext, load_handler


def main() -> None:
    """Load the app, say so with an empty object, then answer."""
    logging.disable()
    handler = load_handler("app.app")
    answers, sys.stdout = sys.stdout, sys.stderr
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        while (left := given["at"] - time.monotonic()) > 0:
            time.sleep(left if left > 0.01 else 0)
        answer = handler(given["event"], LambdaContext("APIHandler"))
        print(json.dumps({"status": answer["statusCode"], "body": answer["body"]}), file=answers, flush=True)


if __name__ == "__main__":
    main()
