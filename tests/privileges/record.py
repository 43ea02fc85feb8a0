"""`python -m tests.privileges.record`: writes the reviewed file anew from a whole run of the end-to-end tests."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.privileges.calls import differences, read_calls, union, write_calls
from tests.privileges.suite import SEEN


def main() -> int:
    """Returns the exit status of the tests. What changed is printed; a review decides whether it is right."""
    with tempfile.TemporaryDirectory(prefix="drawbridge-calls-") as directory:
        command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", "--dist", "loadfile", "tests/e2e"]
        status = subprocess.run(command, env={**os.environ, SEEN: directory}, check=False).returncode
        seen = union([read_calls(file) for file in Path(directory).iterdir()])
    print("\n".join(differences(read_calls(), seen)) or "Nothing has changed.")
    write_calls(seen)
    return status


if __name__ == "__main__":
    sys.exit(main())
