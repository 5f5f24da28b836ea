#!/usr/bin/env python3
"""Tests of the source checks and of the test counter, each on a small tree made to fail."""
import json
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from xml.etree import ElementTree

sys.dont_write_bytecode = True
TOOLS = Path(__file__).resolve().parent


class TreeTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def run_check(self, tool):
        done = subprocess.run([sys.executable, TOOLS / tool, self.root], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


class IncludesTest(TreeTest):
    def test_legal_edges_pass(self):
        self.write("lora/a.cc", '#include "lora/a.h"\n#include "model/b.h"\n#include "core/c.h"\n#include <torch/types.h>\n')
        self.assertEqual(self.run_check("check_includes"), (0, "check_includes: 1 files, 0 faults\n"))

    def test_each_illegal_include_is_named(self):
        for folder, line, fault in [
            ("model", '#include "lora/a.h"', "model/ may not include lora/"),
            ("features", '#include "train/a.h"', "features/ may not include train/"),
            ("eval", '#include "cli/a.h"', "eval/ may not include cli/"),
            ("cluster", "#include <torch/types.h>", "cluster/ does without libtorch"),
            ("core", '#include "error.h"', "written from the root"),
        ]:
            with self.subTest(line=line, folder=folder):
                self.write(f"{folder}/x.cc", "// first\n" + line + "\n")
                status, output = self.run_check("check_includes")
                self.assertEqual(status, 1)
                self.assertIn(f"{folder}/x.cc:2: ", output)
                self.assertIn(fault, output)
                (self.root / folder / "x.cc").unlink()

    def test_nothing_found_is_a_failure(self):
        self.assertEqual(self.run_check("check_includes")[0], 1)


class DocsTest(TreeTest):
    def test_existing_paths_pass(self):
        self.write("core/error.h", "")
        self.write("core/error.cc", "")
        self.write("docs/a.md", "`core/error.h` `core/error.{h,cc}` `core/*.h` `core/error.h:Error` `RUN/x/y` `a b/c` `core/`")
        self.assertEqual(self.run_check("check_docs"), (0, "check_docs: 6 paths, 0 missing\n"))

    def test_missing_path_is_named(self):
        self.write("core/error.h", "")
        self.write("README.md", "one\n`core/eror.h` and `core/*.py`\n")
        status, output = self.run_check("check_docs")
        self.assertEqual(status, 1)
        self.assertIn("README.md:2: core/eror.h does not exist", output)
        self.assertIn("README.md:2: core/*.py does not exist", output)


class CountTest(TreeTest):
    def counts(self, status, results):
        loader = SourceFileLoader("run_tests", str(TOOLS / "run_tests"))
        run_tests = module_from_spec(spec_from_loader("run_tests", loader))
        loader.exec_module(run_tests)
        if results is not None:
            self.write("core.json", json.dumps({"testsuites": [{"testsuite": results}]}))
        case = ElementTree.fromstring(f'<testcase name="core" status="{status}"/>')
        return run_tests.case_counts(case, self.root)

    def test_program_results_are_added(self):
        ran = {"status": "RUN", "result": "COMPLETED"}
        results = [ran, ran, {**ran, "failures": [{}]}, {"status": "RUN", "result": "SKIPPED"},
                   {"status": "NOTRUN", "result": "SUPPRESSED"}]
        self.assertEqual(self.counts("fail", results), (2, 1, 2))

    def test_a_crash_counts_as_a_failure(self):
        self.assertEqual(self.counts("fail", None), (0, 1, 0))
        self.assertEqual(self.counts("fail", [{"status": "RUN", "result": "COMPLETED"}]), (1, 1, 0))
        self.assertEqual(self.counts("run", None), (1, 0, 0))


class BenchmarksTest(TreeTest):
    RESULT = {"name": "decode", "unit": "tokens/s", "ours": 10.5, "peer": 5, "peer_name": "x", "ratio": 2.1,
              "limit_fraction": None}

    def run_with(self, results, status=0):
        self.write("a_bench", f"#!/bin/sh\necho '{json.dumps(results)}' > $2\nexit {status}\n")
        (self.root / "a_bench").chmod(0o755)
        return subprocess.run([sys.executable, TOOLS / "run_benchmarks", self.root, self.root / "bench.json"],
                              capture_output=True).returncode

    def test_results_are_joined(self):
        self.assertEqual(self.run_with([self.RESULT, self.RESULT]), 0)
        self.assertEqual(json.loads((self.root / "bench.json").read_text()), [self.RESULT] * 2)

    def test_a_program_may_be_left_out(self):
        self.assertEqual(self.run_with(None, status=77), 1)  # but not all of them: there is no table then
        self.write("b_bench", f"#!/bin/sh\necho '{json.dumps([self.RESULT])}' > $2\n")
        (self.root / "b_bench").chmod(0o755)
        self.assertEqual(self.run_with(None, status=77), 0)
        self.assertEqual(json.loads((self.root / "bench.json").read_text()), [self.RESULT])

    def test_bad_results_fail(self):
        self.assertEqual(self.run_with([self.RESULT], status=3), 1)
        self.assertEqual(self.run_with([]), 1)
        self.assertEqual(self.run_with([{**self.RESULT, "ours": "fast"}]), 1)
        self.assertEqual(self.run_with([{"name": "decode"}]), 1)


if __name__ == "__main__":
    unittest.main()
