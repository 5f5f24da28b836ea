#!/usr/bin/env python3
"""Rows of the MATH-Combined studies: a sample of each data set, imported by elrea itself.

Usage: make_study_data.py RAW OUT [--elrea PATH] [--train N] [--validation N] [--test N] [--test-skip N]
                          [--max-chars N] [--seed S]

RAW holds gsm8k/, math/, svamp/ and mathqa/, each with a train and a test file as published. From each, N rows that are
short enough (problem and solution together at most --max-chars) are drawn without replacement: train and validation rows
from the train file, test rows from the test file. N may be `all`: what is left after the other splits of that file. --test-skip leaves out as many rows as an earlier study has already looked at:
with the same seed the first N of its test rows. Writes OUT/train.jsonl, OUT/validation.jsonl and OUT/test.jsonl.
"""
import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

FILES = {"gsm8k": "{}.jsonl", "math": "{}.jsonl", "svamp": "{}.json", "mathqa": "{}.jsonl"}


def imported(elrea, kind, path):
    if not path.exists():
        sys.exit(f"{path} is not there; put the data set's own files below RAW/{kind}")
    lines = subprocess.run([elrea, "data", "import", kind, path], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in lines.split("\n") if line]


def length(row):
    return len(row["instruction"]) + len(row.get("input") or "") + len(row["output"])


def unique(rows, max_chars):
    seen = set()
    for row in rows:
        key = (row["instruction"], row.get("input"))
        if key not in seen and length(row) <= max_chars:
            seen.add(key)
            yield row


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def count_or_all(text):
    return None if text == "all" else int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--elrea", default="build/release/elrea")
    for name, default in [("train", 40), ("test", 20)]:
        parser.add_argument(f"--{name}", type=count_or_all, default=default)
    for name, default in [("validation", 10), ("test-skip", 0), ("max-chars", 450), ("seed", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    splits = {"train": [], "validation": [], "test": []}
    for kind, pattern in FILES.items():
        rng = random.Random(f"{options.seed} {kind}")
        learn = list(unique(imported(options.elrea, kind, options.raw / kind / pattern.format("train")), options.max_chars))
        held = list(unique(imported(options.elrea, kind, options.raw / kind / pattern.format("test")), options.max_chars))
        train = len(learn) - options.validation if options.train is None else options.train
        test = len(held) - options.test_skip if options.test is None else options.test
        if len(learn) < max(train, 1) + options.validation or len(held) < options.test_skip + max(test, 1):
            sys.exit(f"{kind}: {len(learn)} and {len(held)} rows of at most {options.max_chars} characters are too few")
        rng.shuffle(learn)
        rng.shuffle(held)
        splits["train"] += learn[:train]
        splits["validation"] += learn[train:train + options.validation]
        splits["test"] += held[options.test_skip:options.test_skip + test]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        write(options.out / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
