"""Writes the demo's training, validation and test rows: short tasks of `reasoning-gym` that pull one small model in
different directions, because their prompts look alike and want different answers.

    python tools/make_demo_data.py --output DIR [--train-rows N] [--valid-rows N] [--test-rows N] [--seed S]

Entries, answers included, are reasoning-gym's own; only its long questions are replaced by a compact instruction made
from the entry's metadata, so that a 135M model trains on them in minutes. DIR gets train.jsonl, validation.jsonl and
test.jsonl with rows {"instruction", "output", "source", "answer"}, balanced over the tasks. No instruction is in two
files, nor twice in one. Equal arguments give equal bytes, and the test file does not depend on --train-rows.

Needs the PyPI packages reasoning-gym (without its dependencies) and PyYAML: only the modules of the tasks used here
are imported, not the whole package with its compiled solvers.
"""

import argparse
import importlib
import importlib.util
import json
import random
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Callable


@dataclass(frozen=True)
class Task:
    name: str  # in reasoning-gym; the row's "source"
    module: str
    config: dict
    instruction: Callable[[dict], str]  # from the entry's metadata
    answer: Callable[[dict], str] = lambda entry: entry["answer"]
    keep: Callable[[dict], bool] = lambda metadata: True


def short_words(words):
    """Distinct lower-case words of 3 to 6 letters: one or two tokens each."""
    return len(set(words)) == len(words) and all(3 <= len(w) <= 6 and w.isascii() and w.islower() for w in words)


TASKS = [
    Task(
        name="word_sorting",
        module="algorithmic.word_sorting",
        config={"min_words": 3, "max_words": 3, "min_word_length": 3, "max_word_length": 6},
        instruction=lambda m: "Sort: " + ", ".join(m["original_words"]),
        keep=lambda m: short_words(m["original_words"]) and m["direction"] == "ascending",
    ),
    Task(
        name="word_sequence_reversal",
        module="algorithmic.word_sequence_reversal",
        config={"min_words": 3, "max_words": 3},
        instruction=lambda m: "Reverse: " + ", ".join(m["words"]),
        keep=lambda m: short_words(m["words"]),
    ),
    Task(
        name="number_filtering",
        module="algorithmic.number_filtering",
        config={"min_numbers": 4, "max_numbers": 4, "max_decimals": 0, "min_value": 0, "max_value": 9},
        instruction=lambda m: f"Above {m['filter_value']}: " + ", ".join(m["original_numbers"]),
        answer=lambda entry: ", ".join(entry["metadata"]["result"]),
        keep=lambda m: m["operation"] == "keep_larger" and 0 < len(m["result"]) < 4,
    ),
    Task(
        name="chain_sum",
        module="arithmetic.chain_sum",
        config={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
        instruction=lambda m: "Calculate: " + m["expression"],
    ),
    Task(
        name="leg_counting",
        module="arithmetic.leg_counting",
        config={"min_animals": 1, "max_animals": 1, "min_instances": 2, "max_instances": 12},
        instruction=lambda m: "Legs: " + ", ".join(f"{count} {animal}s" for animal, count in m["animals"].items()),
    ),
]


def import_tasks():
    """The tasks' modules without the package's __init__ files, which import every data set and its dependencies."""
    spec = importlib.util.find_spec("reasoning_gym")
    if spec is None or spec.origin is None:
        sys.exit("reasoning-gym is not installed: pip install --no-deps reasoning-gym==0.1.25 && pip install pyyaml")
    root = Path(spec.origin).parent
    folders = {task.module.split(".")[0] for task in TASKS}
    for name, path in [("reasoning_gym", root)] + [(f"reasoning_gym.{f}", root / f) for f in sorted(folders)]:
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    for task in TASKS:
        importlib.import_module(f"reasoning_gym.{task.module}")
    return importlib.import_module("reasoning_gym.factory").create_dataset


class RowStream:
    """Rows of one task in the order of its generator, each instruction once."""

    def __init__(self, task, create_dataset, seed):
        self.task = task
        self.entries = create_dataset(task.name, seed=seed, size=sys.maxsize, **task.config)
        self.next_index = 0
        self.seen = set()

    def take(self, count):
        rows, limit = [], self.next_index + 10_000 + 1_000 * count
        while len(rows) < count:
            if self.next_index >= limit:
                sys.exit(f"{self.task.name}: no {count} further distinct rows; ask for fewer")
            entry = self.entries[self.next_index]
            self.next_index += 1
            if not self.task.keep(entry["metadata"]):
                continue
            instruction = self.task.instruction(entry["metadata"])
            if instruction in self.seen:
                continue
            self.seen.add(instruction)
            answer = self.task.answer(entry)
            rows.append(
                {"instruction": instruction, "output": answer, "source": self.task.name, "answer": answer}
            )
        return rows


def balanced(total):
    """Rows of each task: equal but for the remainder, which the first tasks get."""
    share, remainder = divmod(total, len(TASKS))
    return [share + (index < remainder) for index in range(len(TASKS))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--train-rows", type=int, default=500)
    parser.add_argument("--valid-rows", type=int, default=50)
    parser.add_argument("--test-rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    create_dataset = import_tasks()
    streams = [RowStream(task, create_dataset, arguments.seed) for task in TASKS]
    arguments.output.mkdir(parents=True, exist_ok=True)
    # The test rows are drawn first, so that they stay the same when more training rows are asked for.
    for name, total in [
        ("test", arguments.test_rows),
        ("validation", arguments.valid_rows),
        ("train", arguments.train_rows),
    ]:
        rows = [row for stream, count in zip(streams, balanced(total)) for row in stream.take(count)]
        random.Random(f"{arguments.seed} {name}").shuffle(rows)
        path = arguments.output / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{path}: {len(rows)} rows of {len(TASKS)} tasks")


if __name__ == "__main__":
    main()
