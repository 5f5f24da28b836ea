#!/usr/bin/env python3
"""Tests of the reasoning-gym scripts against a stand-in for the package: rows, and which prediction is scored against which."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
TOOLS = Path(__file__).resolve().parent
# Questions repeat after five; answers of index 3 have two lines. Half a point for the answer and more.
PACKAGE = '''
class Dataset:
    def __init__(self, task, size, seed): self.task, self.size, self.seed = task, size, seed
    def __getitem__(self, i):
        if i >= self.size: raise IndexError
        return {"question": f"{self.task} {self.seed} {i % 5}?", "answer": "x\\ny" if i % 5 == 3 else f"a{i % 5}"}
    def score_answer(self, answer, entry):
        return 1.0 if answer.lower() == entry["answer"] else 0.5 if entry["answer"] in answer else 0.0
def create_dataset(task, size, seed):
    if task == "none": raise ValueError("no such task")
    return Dataset(task, size, seed)
'''


class ReasoningGymTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        (self.root / "reasoning_gym.py").write_text(PACKAGE)

    def tearDown(self):
        self.folder.cleanup()

    def run_tool(self, name, *arguments):
        return subprocess.run([sys.executable, TOOLS / name, *map(str, arguments)], capture_output=True, text=True,
                              env={"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"})

    def make(self, *more):
        return self.run_tool("make_reasoning_gym.py", self.root / "out", "--tasks", "sum,sort", "--train", 2, "--validation", 1,
                             "--test", 1, *more)

    def rows(self, name):
        return [json.loads(line) for line in (self.root / "out" / f"{name}.jsonl").read_text().split("\n") if line]

    def test_rows_are_different_and_say_how_to_make_them_again(self):
        done = self.make()
        self.assertEqual((done.returncode, done.stdout), (0, "test: 2 rows\nvalidation: 2 rows\ntrain: 4 rows\n"), done.stderr)
        rows = self.rows("train") + self.rows("validation") + self.rows("test")
        self.assertEqual(len({row["instruction"] for row in rows}), 8)
        self.assertEqual(self.rows("test")[0], {"instruction": "sum 0 0?", "output": "#### a0", "answer": "a0", "source": "reasoning_gym/sum",
                                                "reasoning_gym": {"task": "sum", "seed": 0, "size": 280, "index": 0}})
        self.assertNotIn("x\ny", {row["answer"] for row in rows})

    def test_what_cannot_be_made_is_said(self):
        for more, words in (["--train", 3], "sum: only 4 of 5 rows"), (["--tasks", "none"], "none: no such task"):
            done = self.make(*more)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)

    def verify(self, predictions):
        path = self.root / "base.jsonl"
        path.write_text("".join(json.dumps(p) + "\n" for p in predictions))
        return self.run_tool("verify_reasoning_gym.py", self.root / "out/train.jsonl", path, "--json")

    def test_each_prediction_is_scored_against_its_row(self):
        self.make()
        rows = self.rows("train")
        answers = [rows[0]["answer"], rows[1]["answer"].upper(), rows[2]["answer"] + "!", ""]
        done = self.verify([{"source": row["source"], "gold": row["answer"], "answer": answer, "correct": i == 0}
                            for i, (row, answer) in enumerate(zip(rows, answers))])
        self.assertEqual(done.returncode, 0, done.stderr)
        table = json.loads(done.stdout)
        self.assertEqual((table["all rows"]["n"], table["all rows"]["exact_match"], table["all rows"]["verified"]), (4, 0.25, 0.5))
        self.assertEqual(table["all rows"]["mean_score"], 2.5 / 4)
        self.assertEqual((table["all rows"]["only_exact_match"], table["all rows"]["only_verifier"]), (0, 1))
        self.assertEqual(table["reasoning_gym/sort"]["verified"], 0.0)

    def test_fewer_predictions_are_the_evenly_spread_ones(self):
        self.make()
        rows = self.rows("train")
        chosen = [{"source": row["source"], "gold": row["answer"], "answer": row["answer"], "correct": True} for row in (rows[0], rows[2])]
        self.assertEqual(json.loads(self.verify(chosen).stdout)["all rows"]["verified"], 1.0)
        done = self.verify(chosen[::-1])
        self.assertEqual(done.returncode, 1)
        self.assertIn("prediction 1 is of another row", done.stderr)


if __name__ == "__main__":
    unittest.main()
