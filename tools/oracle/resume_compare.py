"""Kills `elrea run` at random moments, starts it again each time, and compares all artifacts with an uninterrupted run's.

    python tools/oracle/resume_compare.py --config configs/demo.yaml --out FOLDER [--set a.b=c ...] [--kills 10] [--seed 1]

FOLDER/whole is the uninterrupted run (made first, or taken as it is), FOLDER/killed the other. The moments are spread over
the time that the uninterrupted run took, kill -9 each. Adapters, features, clusters, answers and reports must be equal byte
for byte. Exit status 1 when something differs or fewer kills than asked hit a running program.
"""

import argparse
import hashlib
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

ARTIFACTS = ("data/*", "base/adapter_*", "base/checkpoint-*/*", "features/*", "clusters/*", "experts/*/adapter_*",
             "experts/*/checkpoint-*/*", "eval/*.jsonl", "eval/report.*")


def digests(run):
    files = sorted({p for pattern in ARTIFACTS for p in run.glob(pattern) if p.is_file()})
    return {str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def run_once(command, log, kill_after=None):
    """Exit status, or None when it was killed."""
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        return process.wait(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    command = [arguments.elrea, "run", "--config", arguments.config]
    command += [part for pair in arguments.set for part in ("--set", pair)]
    whole, killed = arguments.out / "whole", arguments.out / "killed"
    shutil.rmtree(killed, ignore_errors=True)
    with open(arguments.out / "log.txt", "w") as log:
        shutil.rmtree(whole, ignore_errors=True)
        begun = time.monotonic()
        subprocess.run(command + ["--out", whole], stdout=log, stderr=log, check=True)
        seconds = time.monotonic() - begun
        print(f"uninterrupted: {seconds:.0f} s", flush=True)
        # Each session ends after a random share of what it would need at most; together they need not reach the end.
        draw = random.Random(arguments.seed)
        kills = 0
        while kills < arguments.kills:
            after = draw.uniform(0.1, 1.4) * seconds / arguments.kills
            status = run_once(command + ["--out", killed], log, after)
            if status is None:
                kills += 1
                done = sorted(p.name for p in killed.glob("*")) if killed.exists() else []
                print(f"kill {kills} after {after:.1f} s: {' '.join(done)}", flush=True)
            else:
                print(f"ended with status {status} before kill {kills + 1}", flush=True)
                break
        if status is None:
            subprocess.run(command + ["--out", killed], stdout=log, stderr=log, check=True)
    ours, theirs = digests(killed), digests(whole)
    differing = [name for name in theirs.keys() | ours.keys() if ours.get(name) != theirs.get(name)]
    print(f"{kills} kills, {len(theirs)} files, {len(differing)} differ {' '.join(sorted(differing))}")
    sys.exit(0 if theirs and not differing and kills == arguments.kills else 1)


if __name__ == "__main__":
    main()
