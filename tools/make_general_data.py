#!/usr/bin/env python3
"""Rows of the general studies: FLAN chains of thought and Alpaca's seed tasks to learn, MMLU and BBH held out.

Usage: make_general_data.py RAW OUT [--elrea PATH] [--train N] [--alpaca N] [--validation N] [--flan-test N] [--mmlu N]
                            [--bbh N] [--max-chars N] [--mmlu-shots N] [--bbh-shots N] [--tasks A,B,...] [--seed S]

RAW holds flan_cot/, alpaca/seed_tasks.jsonl, mmlu_stem/test.jsonl and bbh/ as published; elrea itself imports them. Drawn
without replacement, and only rows of at most --max-chars characters (question and response; for the held-out sets the
question without its worked examples):

  OUT/train.jsonl       --train rows of each set of flan_cot (`all`: what the others leave), --alpaca rows of the seed tasks
  OUT/validation.jsonl  --validation other rows of each set of flan_cot
  OUT/test.jsonl        --flan-test other rows of each set of flan_cot (as source flan_cot_held_out/SET), --mmlu rows of
                        MMLU with --mmlu-shots worked examples of their subject (its first rows, which are asked of no
                        row) and --bbh rows of BBH with --bbh-shots published chains of thought. Both are spread over
                        subjects and tasks; --tasks names the tasks of BBH to use. Sources are mmlu and bbh

No question of OUT/test.jsonl is in the others. Equal arguments give equal bytes.
"""
import argparse
import json
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def imported(elrea, kind, path, *flags):
    if not path.exists():
        sys.exit(f"{path} is not there; put the data set's own files below {path.parent}")
    lines = subprocess.run([elrea, "data", "import", kind, path, *flags], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in lines.split("\n") if line]


def key(row):
    return row["instruction"], row.get("input")


def usable(rows, max_chars, rng):
    """Short rows with different questions, in a random order, by source."""
    seen, by_source = set(), defaultdict(list)
    for row in rows:
        length = len(row["instruction"]) + len(row.get("input") or "") + len(row["output"])
        if length <= max_chars and key(row) not in seen:
            seen.add(key(row))
            by_source[row["source"]].append(row)
    for group in by_source.values():
        rng.shuffle(group)
    return by_source


def spread(by_source, count, name):
    """`count` rows, one source after the other."""
    rows = []
    groups = [list(group) for _, group in sorted(by_source.items())]
    while len(rows) < count:
        groups = [group for group in groups if group]
        if not groups:
            sys.exit(f"{name}: only {len(rows)} of {count} rows are short enough; raise --max-chars, or ask for fewer")
        for group in groups[:count - len(rows)]:
            rows.append(group.pop())
    return rows


def flan_splits(options):
    """Rows of each set of flan_cot: train, validation, test."""
    rng = random.Random(f"{options.seed} flan_cot")
    splits = [[], [], []]
    for source, group in sorted(usable(imported(options.elrea, "flan_cot", options.raw / "flan_cot"), options.max_chars, rng).items()):
        others = options.validation + options.flan_test
        counts = [len(group) - others if options.train is None else options.train, options.validation, options.flan_test]
        if len(group) < sum(counts) or counts[0] < 0:
            sys.exit(f"{source}: {len(group)} rows of at most {options.max_chars} characters are fewer than {sum(counts)}")
        for split, count in zip(splits, counts):
            split += group[:count]
            group = group[count:]
    for row in splits[2]:
        row["source"] = row["source"].replace("flan_cot/", "flan_cot_held_out/")
    return splits


def held_out(options):
    rng = random.Random(f"{options.seed} held out")
    mmlu = usable(imported(options.elrea, "mmlu", options.raw / "mmlu_stem" / "test.jsonl", "--few-shot", str(options.mmlu_shots)),
                  options.max_chars, rng)
    bbh = usable(imported(options.elrea, "bbh", options.raw / "bbh", "--few-shot", str(options.bbh_shots)), options.max_chars, rng)
    if options.tasks:
        names = {f"bbh/{task}" for task in options.tasks.split(",")}
        if names - bbh.keys():
            sys.exit(f"no rows of {', '.join(sorted(names - bbh.keys()))} of at most {options.max_chars} characters")
        bbh = {source: group for source, group in bbh.items() if source in names}
    rows = spread(mmlu, options.mmlu, "mmlu") + spread(bbh, options.bbh, "bbh")
    for row in rows:
        row["task"], row["source"] = row["source"], row["source"].split("/")[0]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--train", type=lambda text: None if text == "all" else int(text), default=40)
    for name, default in [("alpaca", 40), ("validation", 5), ("flan-test", 10), ("mmlu", 60), ("bbh", 60),
                          ("max-chars", 600), ("mmlu-shots", 5), ("bbh-shots", 3), ("seed", 0)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    train, validation, test = flan_splits(options)
    alpaca = usable(imported(options.elrea, "alpaca", options.raw / "alpaca" / "seed_tasks.jsonl"), options.max_chars,
                    random.Random(f"{options.seed} alpaca"))
    train += spread(alpaca, options.alpaca, "alpaca")
    test += held_out(options)
    common = {key(row) for row in train + validation} & {key(row) for row in test}
    if common:
        sys.exit(f"{len(common)} held-out questions are also learnt, the first: {sorted(common)[0][0]!r}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in [("train", train), ("validation", validation), ("test", test)]:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (options.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
