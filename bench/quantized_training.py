#!/usr/bin/env python3
"""Fine-tuning on quantised backbones beside a dense one: tokens a second, memory and held-out loss of the base adapter.

Usage: quantized_training.py CONFIG [--elrea PATH] [--quantize none,keep,nf4,nf4_double,int8] [--set OPTION=VALUE ...]

CONFIG is a run's, with data.validation_files. Each way is one `elrea train` of a folder of its own, one after the other on the
same rows; the held-out loss is that after the last epoch. No packages beyond Python's own.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def train(elrea, config, quantize, overrides, folder):
    """Runs one fine-tuning; its result and its peak of resident memory in bytes."""
    command = [elrea, "train", "--config", config, "--out", folder, "--set", "model.quantize=" + quantize]
    for override in overrides:
        command += ["--set", override]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"quantize={quantize}: {log.strip().splitlines()[-1]}")
    loaded = [line[line.find("weights=") + 8:] for line in log.splitlines() if " loaded " in line]
    weights = loaded[-1] if loaded else "?"  # the dense model is loaded before it when codes are calibrated
    result = json.loads((Path(folder) / "base" / "finetune.json").read_text())["result"]
    return {"quantize": quantize, "weights": weights, "tokens_per_s": result["tokens"] / result["seconds"],
            "peak_bytes": usage.ru_maxrss * 1024, "held_out_loss": result["validation_loss"], "steps": result["steps"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--quantize", default="none,keep,nf4,nf4_double,int8")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--json", action="store_true", help="one JSON object per way")
    options = parser.parse_args()
    first = None
    if not options.json:
        print("| `model.quantize` | weights | tokens/s | ratio | peak memory, GiB | held-out loss | against the first |\n|---|---|---|---|---|---|---|")
    for quantize in options.quantize.split(","):
        with tempfile.TemporaryDirectory() as folder:
            r = train(options.elrea, options.config, quantize, options.overrides, folder)
        first = first or r
        if options.json:
            print(json.dumps(r), flush=True)
            continue
        print(f"| `{quantize}` | {r['weights']} | {r['tokens_per_s']:.0f} | {r['tokens_per_s'] / first['tokens_per_s']:.2f} | "
              f"{r['peak_bytes'] / 2**30:.2f} | {r['held_out_loss']:.4f} | {100 * (r['held_out_loss'] / first['held_out_loss'] - 1):+.2f}% |",
              flush=True)


if __name__ == "__main__":
    main()
