#!/usr/bin/env python3
"""Holds `elrea tokenize` against the `tokenizers` library on every string of some files; exit status 1 on a difference.

    python tools/oracle/tokenizer_compare.py --elrea PROGRAM --model GGUF [--strings FILES...] [--synthetic N]

Strings are all text fields of .jsonl, .json and .tsv files and the lines of others, plus N made-up ones.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import tokenizer_reference as reference
import tokenizer_strings as strings


def ours(program, model, texts):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        command = [program, "tokenize", "--model", str(model), "--input", str(path), "--json"]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line)["tokens"] for line in printed.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elrea", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--strings", nargs="*", default=[])
    parser.add_argument("--synthetic", type=int, default=5000)
    args = parser.parse_args()
    real = list(dict.fromkeys(strings.from_paths(args.strings)))
    texts = real + strings.synthetic(args.synthetic) if args.synthetic else real
    tokenizer = reference.load(args.model).backend_tokenizer
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    got = ours(args.elrea, args.model, texts)
    if len(got) != len(texts):
        sys.exit(f"{len(texts)} strings went in, {len(got)} lines came out")
    wrong = [i for i in range(len(texts)) if got[i] != expected[i]]
    for i in wrong[:10]:
        print(f"{texts[i]!r:.200}\n  ours      {got[i][:40]}\n  reference {expected[i][:40]}")
    print(f"{len(texts)} strings ({len(real)} real), {sum(map(len, expected))} tokens: {len(wrong)} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
