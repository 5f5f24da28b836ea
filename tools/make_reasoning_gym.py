#!/usr/bin/env python3
"""Training, validation and test rows of tasks of reasoning-gym, each with a gold answer and with what a verifier needs.

Usage: make_reasoning_gym.py OUT [--tasks A,B,...] [--train N] [--validation N] [--test N] [--seed S] [--max-chars N]

Questions and answers are the package's own, at its default difficulty. OUT gets train.jsonl, validation.jsonl and
test.jsonl with rows {"instruction", "output": "#### ANSWER", "answer", "source": "reasoning_gym/TASK", "reasoning_gym":
{"task", "seed", "size", "index"}}; N rows a task. No question is in two files, nor twice in one; those with more than
--max-chars characters, or an answer of several lines, are passed over. Equal arguments give equal bytes.

By default the tasks are those whose answer is one short text, so that exact match is the score. The others have many
right answers: score their predictions with tools/verify_reasoning_gym.py. Needs the PyPI package reasoning-gym.
"""
import argparse
import json
import sys
from pathlib import Path

# One right answer each, on one line, that exact match recognises (tests/golden/reasoning_gym.json).
EXACT_TASKS = ["base_conversion", "basic_arithmetic", "calendar_arithmetic", "chain_sum", "count_bits", "count_primes",
               "family_relationships", "fraction_simplification", "gcd", "isomorphic_strings", "lcm", "leg_counting",
               "letter_counting", "number_sequence", "products", "ransom_note", "simple_equations", "spell_backward",
               "syllogism", "word_sequence_reversal", "word_sorting"]


def entries(task, seed, size):
    import reasoning_gym
    try:
        dataset = reasoning_gym.create_dataset(task, size=size, seed=seed)
    except ValueError as error:
        sys.exit(f"{task}: {error}; the tasks are those of reasoning_gym.factory.DATASETS")
    for index in range(size):
        yield index, dataset[index]


def rows_of(task, count, options):
    """`count` rows with different questions."""
    size = 20 * count + 200
    seen, rows = set(), []
    for index, entry in entries(task, options.seed, size):
        question, answer = entry["question"], entry["answer"]
        if not isinstance(answer, str) or not answer.strip() or "\n" in answer.strip():
            continue
        if len(question) > options.max_chars or question in seen:
            continue
        seen.add(question)
        rows.append({"instruction": question, "output": f"#### {answer.strip()}", "answer": answer.strip(),
                     "source": f"reasoning_gym/{task}",
                     "reasoning_gym": {"task": task, "seed": options.seed, "size": size, "index": index}})
        if len(rows) == count:
            return rows
    sys.exit(f"{task}: only {len(rows)} of {count} rows are short enough and different; raise --max-chars, or ask for fewer")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", default=",".join(EXACT_TASKS))
    for name, default in [("train", 100), ("validation", 10), ("test", 20), ("seed", 0), ("max-chars", 600)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    counts = {"test": options.test, "validation": options.validation, "train": options.train}
    splits = {name: [] for name in counts}
    for task in options.tasks.split(","):
        rows = rows_of(task, sum(counts.values()), options)
        for name, count in counts.items():
            splits[name] += rows[:count]
            rows = rows[count:]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (options.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
