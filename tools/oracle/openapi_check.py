"""schemathesis against a running `elrea serve`: what the server's OpenAPI document allows must be answered, what it forbids
refused with a documented status, and nothing may crash.

    python tools/oracle/openapi_check.py --url http://127.0.0.1:8080 [--examples 30] [--seed 1]

Needs the package schemathesis. The run that is served should be tiny: thousands of requests are made. openapi_hooks.py
lets refusals pass that no schema can foretell. Exit status 1 when an operation fails; schemathesis prints which
request, and the curl command that makes it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--examples", type=int, default=30, help="random requests of each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", arguments.url + "/openapi.json", "--phases=examples,coverage,fuzzing",
               f"--max-examples={arguments.examples}", f"--seed={arguments.seed}", "--no-color", "--request-timeout=60"]
    hooks = {"PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "openapi_hooks"}
    return subprocess.run(command, check=False, env=os.environ | hooks).returncode


if __name__ == "__main__":
    sys.exit(main())
