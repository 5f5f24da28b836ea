#!/usr/bin/env python3
"""Tests of the general studies' rows, from small sets in the published formats: disjoint, counted, examples kept apart.

Usage: make_general_data_test.py ELREA
"""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SCRIPT = Path(__file__).resolve().parent / "make_general_data.py"
ELREA = "elrea"


def write_raw(raw):
    for folder in ("flan_cot", "alpaca", "mmlu_stem", "bbh/cot-prompts"):
        (raw / folder).mkdir(parents=True)
    for name in ("creak", "strategyqa"):
        (raw / f"flan_cot/{name}_train.tsv").write_text(
            "".join(f"Is {name} {i} true?\t{'yes' if i % 2 else 'no'}\tBecause of {i}.\n" for i in range(12)))
    (raw / "alpaca/seed_tasks.jsonl").write_text(
        "".join(json.dumps({"instruction": f"Say {i}", "instances": [{"input": "", "output": str(i)}]}) + "\n" for i in range(6)))
    (raw / "mmlu_stem/test.jsonl").write_text("".join(
        json.dumps({"question": f"{subject} {i}?", "type": subject, "choices": ["x", "y"], "answer": i % 2}) + "\n"
        for subject in ("astronomy", "physics") for i in range(5)))
    for task in ("navigate", "web_of_lies"):
        (raw / f"bbh/{task}.json").write_text(json.dumps(
            {"canary": "c", "examples": [{"input": f"{task} {i}?", "target": "Yes"} for i in range(4)]}))
        (raw / f"bbh/cot-prompts/{task}.txt").write_text("c\n-----\nAnswer.\n\nQ: a\nA: Yes.\n\nQ: b\nA: No.\n")


class GeneralDataTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        write_raw(cls.root / "raw")
        cls.done = cls.make("a")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def make(cls, out, *more):
        arguments = ["--elrea", ELREA, "--train", "4", "--alpaca", "3", "--validation", "1", "--flan-test", "2", "--mmlu", "3",
                     "--bbh", "3", "--mmlu-shots", "2", *more]
        return subprocess.run([sys.executable, SCRIPT, cls.root / "raw", cls.root / out, *arguments], capture_output=True, text=True)

    def rows(self, out, name):
        return [json.loads(line) for line in (self.root / out / f"{name}.jsonl").read_text().split("\n") if line]

    def test_splits_are_counted_and_disjoint(self):
        self.assertEqual((self.done.returncode, self.done.stdout), (0, "train: 11 rows\nvalidation: 2 rows\ntest: 10 rows\n"),
                         self.done.stderr)
        questions = {name: {row["instruction"] for row in self.rows("a", name)} for name in ("train", "validation", "test")}
        self.assertEqual(sum(map(len, questions.values())), 23)
        self.assertEqual(len(set().union(*questions.values())), 23)
        test = self.rows("a", "test")
        self.assertEqual([row["source"] for row in test],
                         ["flan_cot_held_out/creak"] * 2 + ["flan_cot_held_out/strategyqa"] * 2 + ["mmlu"] * 3 + ["bbh"] * 3)
        self.assertEqual({row["task"] for row in test[4:]}, {"mmlu/astronomy", "mmlu/physics", "bbh/navigate", "bbh/web_of_lies"})
        self.assertEqual(test[0]["choices"], ["yes", "no"])

    def test_examples_stay_apart_and_are_asked_of_no_row(self):
        for row in self.rows("a", "test")[4:]:
            self.assertEqual(len(row["few_shot"]["examples"]), 2)
            self.assertIn("choices", row)
            for example in row["few_shot"]["examples"]:
                self.assertNotIn(example.split("?")[0], row["instruction"])

    def test_the_seed_decides(self):
        self.assertEqual(self.make("b").returncode, 0)
        self.assertEqual(self.make("c", "--seed", "1").returncode, 0)
        for name in ("train", "test"):
            self.assertEqual(self.rows("a", name), self.rows("b", name))
            self.assertNotEqual(self.rows("a", name), self.rows("c", name))

    def test_too_few_rows_and_unknown_tasks_are_errors(self):
        for more, words in (["--train", "10"], "creak: 12 rows"), (["--tasks", "navigat"], "bbh/navigat"):
            done = self.make("d", *more)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertFalse((self.root / "d").exists())


if __name__ == "__main__":
    ELREA = sys.argv.pop()
    unittest.main()
