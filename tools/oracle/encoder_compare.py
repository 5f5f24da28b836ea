#!/usr/bin/env python3
"""Holds `elrea embed` against sentence-transformers; exit status 1 when a cosine is under 0.9999.

    python tools/oracle/encoder_compare.py --elrea PROGRAM --model DIR --strings FILES... [--count 1000]
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

import tokenizer_strings as strings


def ours(program, model, texts):
    with tempfile.TemporaryDirectory() as folder:
        path, output = pathlib.Path(folder) / "texts.jsonl", pathlib.Path(folder) / "out.safetensors"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        subprocess.run([program, "embed", "--model", str(model), "--input", str(path), "--output", str(output)], check=True)
        return load_file(output)["embeddings"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elrea", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--strings", nargs="+", required=True)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    real = sorted(set(strings.from_paths(args.strings)))
    texts = random.Random(strings.SEED).sample(real, min(args.count, len(real)))
    expected = SentenceTransformer(args.model, device="cpu").encode(texts, batch_size=16)
    got = ours(args.elrea, args.model, texts)
    cosine = (expected * got).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(got, axis=1)
    print(f"{len(texts)} texts: lowest cosine {cosine.min():.7f}, largest difference {np.abs(expected - got).max():.2e}")
    sys.exit(0 if cosine.min() >= 0.9999 else 1)


if __name__ == "__main__":
    main()
