#!/usr/bin/env python3
"""Scores answers to rows of make_reasoning_gym.py with the package's own verifiers, beside exact match.

Usage: verify_reasoning_gym.py ROWS PREDICTIONS [--json]

ROWS is the file that was evaluated, PREDICTIONS the answers to it: METHOD.jsonl of `elrea eval`, or answers.jsonl of a
study. Where they are fewer than the rows (eval.limit, study.answer_limit), they are the evenly spread ones. Each row's
entry is made again by the package, and score_answer judges the answer that elrea found in the response; a task's
verifier may accept many answers, and gives some part of a point (a third of a point, say, for an answer with text
around it). Prints, per source and over all, n, exact match as elrea judged it, the share with the full point under the
verifier (95% Wilson intervals), the mean score, and how many rows only one of the two accepts.
"""
import argparse
import json
import math
import sys
from functools import lru_cache
from pathlib import Path


def read(path):
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
        if line:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                sys.exit(f"{path}:{number}: {error}")
    return rows


@lru_cache(maxsize=None)
def dataset(task, seed, size):
    import reasoning_gym
    return reasoning_gym.create_dataset(task, size=size, seed=seed)


def score(row, answer, where):
    key = row.get("reasoning_gym")
    if key is None:
        sys.exit(f"{where}: no \"reasoning_gym\" field; make the rows with make_reasoning_gym.py")
    tasks = dataset(key["task"], key["seed"], key["size"])
    entry = tasks[key["index"]]
    if entry["question"] != row["instruction"]:
        sys.exit(f"{where}: the installed reasoning-gym makes another question of {key}; use the version the rows were made with")
    return float(tasks.score_answer(answer, entry)) if answer else 0.0


def wilson(correct, n, z=1.959963984540054):
    share, width = correct / n, z * z / n
    middle = (share + width / 2) / (1 + width)
    half = z / (1 + width) * math.sqrt(share * (1 - share) / n + width / (4 * n))
    return [max(0.0, middle - half), min(1.0, middle + half)]


def summary(results):
    """results: (correct, score) per row."""
    n = len(results)
    exact, full = sum(c for c, _ in results), sum(s >= 1 for _, s in results)
    return {"n": n, "exact_match": exact / n, "exact_match_interval_95": wilson(exact, n), "verified": full / n,
            "verified_interval_95": wilson(full, n), "mean_score": sum(s for _, s in results) / n,
            "only_exact_match": sum(c and s < 1 for c, s in results), "only_verifier": sum(not c and s >= 1 for c, s in results)}


def judge(rows, predictions):
    if not 0 < len(predictions) <= len(rows):
        sys.exit(f"{len(predictions)} predictions for {len(rows)} rows; give the file that was evaluated")
    by_source = {}
    for i, prediction in enumerate(predictions):
        at = i * len(rows) // len(predictions)
        row = rows[at]
        if (prediction["source"], prediction["gold"]) != (row["source"], row["answer"]):
            sys.exit(f"prediction {i + 1} is of another row than row {at + 1}; give the file that was evaluated")
        result = (bool(prediction["correct"]), score(row, prediction["answer"], f"row {at + 1}"))
        by_source.setdefault(row["source"], []).append(result)
    table = {source: summary(results) for source, results in by_source.items()}
    table["all rows"] = summary([r for results in by_source.values() for r in results])
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows")
    parser.add_argument("predictions")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = judge(read(options.rows), read(options.predictions))
    if options.json:
        return print(json.dumps(table))
    print(f"{'source':40} {'n':>5}  {'exact match, %':>20}  {'verified, %':>20}  {'score':>6}  only exact / verifier")
    for source, s in table.items():
        cells = ["{:5.1f} [{:5.1f},{:6.1f}]".format(100 * s[name], *(100 * x for x in s[name + "_interval_95"]))
                 for name in ("exact_match", "verified")]
        print(f"{source:40} {s['n']:5}  {cells[0]:>20}  {cells[1]:>20}  {s['mean_score']:6.3f}  {s['only_exact_match']:10} / {s['only_verifier']}")


if __name__ == "__main__":
    main()
