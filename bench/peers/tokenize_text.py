#!/usr/bin/env python3
"""Encodes a file's lines with `tokenizers` (a tokenizer.json or a folder with one) or `sentencepiece` (a tokenizer.model), one
thread, and writes {"name", "seconds", "tokens"}: the peer of bench/tokenizer_bench.cc."""
import argparse
import json
import os
import pathlib
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def load(path):
    if path.is_dir():
        path = next(path / name for name in ("tokenizer.json", "tokenizer.model", "spiece.model") if (path / name).exists())
    if path.suffix == ".json":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return "tokenizers", lambda lines: sum(len(e.ids) for e in tokenizer.encode_batch_fast(lines, add_special_tokens=False))
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return "sentencepiece", lambda lines: sum(map(len, processor.encode(lines, num_threads=1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--input", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    lines = [line for line in args.input.read_bytes().decode("utf-8", "replace").split("\n") if line]
    name, encode = load(args.model)
    begun = time.perf_counter()
    tokens = encode(lines)
    args.output.write_text(json.dumps({"name": name, "seconds": time.perf_counter() - begun, "tokens": tokens}))


if __name__ == "__main__":
    main()
