#!/usr/bin/env python3
"""Tests of the demo's rows: the right answers (worked out again here), balanced, disjoint, equal bytes for equal arguments."""
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SCRIPT = Path(__file__).resolve().parent / "make_demo_data.py"
LEGS = {"ant": 6, "bee": 6, "butterfly": 6, "beetle": 6, "bird": 2, "chicken": 2, "spider": 8, "scorpion": 8, "crab": 10,
        "shrimp": 10, "lobster": 10, "cow": 4, "cat": 4, "dog": 4, "horse": 4, "sheep": 4, "goat": 4}


def expected(row):
    """The answer worked out from the instruction alone; None for an animal that is not in the table above."""
    kind, _, rest = row["instruction"].partition(": ")
    items = rest.split(", ")
    if kind == "Sort":
        return ", ".join(sorted(items))
    if kind == "Reverse":
        return ", ".join(reversed(items))
    if kind.startswith("Above "):
        return ", ".join(item for item in items if float(item) > float(kind.removeprefix("Above ")))
    if kind == "Calculate":
        assert re.fullmatch(r"[0-9+\- ]+", rest), rest
        return str(eval(rest))
    count, animal = re.fullmatch(r"([0-9]+) (.+)s", rest).groups()
    return str(int(count) * LEGS[animal]) if animal in LEGS else None


class DemoDataTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.first = cls.make("first", 60)
        cls.second = cls.make("second", 60)
        cls.larger = cls.make("larger", 90)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def make(cls, name, train_rows):
        output = Path(cls.folder.name) / name
        subprocess.run([sys.executable, SCRIPT, "--output", output, "--train-rows", str(train_rows), "--valid-rows", "10",
                        "--test-rows", "40", "--seed", "5"], check=True, stdout=subprocess.DEVNULL)
        return output

    @staticmethod
    def rows(folder, name):
        return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]

    def test_answers_are_right(self):
        checked = 0
        for name in ("train", "validation", "test"):
            for row in self.rows(self.first, name):
                self.assertEqual(row["output"], row["answer"])
                answer = expected(row)
                if answer is not None:
                    self.assertEqual(row["answer"], answer, row["instruction"])
                    checked += 1
        self.assertGreater(checked, 90)

    def test_equal_arguments_give_equal_bytes(self):
        for file in self.first.iterdir():
            self.assertEqual(file.read_bytes(), (self.second / file.name).read_bytes())

    def test_more_training_rows_leave_the_test_rows_alone(self):
        self.assertEqual((self.first / "test.jsonl").read_bytes(), (self.larger / "test.jsonl").read_bytes())

    def test_tasks_are_balanced_and_no_instruction_appears_twice(self):
        instructions = []
        for name, share in (("train", 12), ("validation", 2), ("test", 8)):
            rows = self.rows(self.first, name)
            instructions += [row["instruction"] for row in rows]
            sources = [row["source"] for row in rows]
            self.assertEqual({sources.count(source) for source in set(sources)}, {share})
        self.assertEqual(len(instructions), len(set(instructions)))


if __name__ == "__main__":
    unittest.main()
