"""scikit-learn's Birch on the rows that bench/birch_bench.cc wrote: the peer of its measurements.

Reads raw floats [rows, dim], writes fit_s and predict_s (wall), memory_mib (peak resident above the rows) and the labels
of all rows. Called by the benchmark; by hand:
    python bench/peers/birch_sklearn.py --rows rows.f32 --dim 8192 --fit-rows 5000 --output peer.json
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import Birch


def status_mib(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--fit-rows", type=int, required=True)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--branching-factor", type=int, default=50)
    parser.add_argument("--clusters", type=int, default=5)
    args = parser.parse_args()

    rows = np.fromfile(args.rows, dtype=np.float32).reshape(-1, args.dim)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = status_mib("VmRSS:")
    birch = Birch(threshold=args.threshold, branching_factor=args.branching_factor, n_clusters=args.clusters)
    start = time.perf_counter()
    birch.fit(rows[: args.fit_rows])
    fitted = time.perf_counter()
    labels = birch.predict(rows)
    done = time.perf_counter()
    result = {
        "fit_s": fitted - start,
        "predict_s": done - fitted,
        "memory_mib": status_mib("VmHWM:") - before,
        "subclusters": len(birch.subcluster_centers_),
    }
    print("scikit-learn:", result, file=sys.stderr)
    args.output.write_text(json.dumps({**result, "labels": labels.tolist()}))


if __name__ == "__main__":
    main()
