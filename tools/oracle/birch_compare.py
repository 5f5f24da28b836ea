"""Adjusted Rand index of our BIRCH against scikit-learn's on data sets too large for golden files.

Run from the repository root with the benchmark program built:
    python tools/oracle/birch_compare.py build/release/birch_bench [features.safetensors ...]
Further arguments are feature files of runs (tensor "features"). Exits with 1 unless every index is 1.0.
"""
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.cluster import Birch
from sklearn.metrics import adjusted_rand_score


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def blobs(rng, n, d, k, spread):
    return rng.uniform(-3, 3, (k, d))[rng.integers(0, k, n)] + spread * rng.standard_normal((n, d))


def read_features(path):
    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    entry = json.loads(raw[8 : 8 + length])["features"]
    begin, end = entry["data_offsets"]
    return np.frombuffer(raw[8 + length + begin : 8 + length + end], np.float32).reshape(entry["shape"])


def data_sets(feature_files):
    rng = np.random.default_rng(3)
    yield "blobs 2-d", blobs(rng, 20000, 2, 8, 0.25), dict(threshold=0.1, branching_factor=50, n_clusters=8)
    yield "blobs 32-d", blobs(rng, 10000, 32, 10, 0.6), dict(threshold=2.5, branching_factor=30, n_clusters=10)
    stretch = np.diag(np.geomspace(4, 0.1, 8)) @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    yield "anisotropic", blobs(rng, 10000, 8, 5, 0.5) @ stretch, dict(threshold=0.5, branching_factor=20, n_clusters=5)
    directions = rng.standard_normal((10, 2048)) * 0.4
    rows = unit(directions[rng.integers(0, 10, 4000)] + rng.standard_normal((4000, 2048)))
    yield "unit rows", rows, dict(threshold=0.62, branching_factor=50, n_clusters=5)
    common, sources = rng.standard_normal(1024) * 2, rng.standard_normal((8, 1024)) * 0.6
    rows = unit(common + sources[rng.integers(0, 8, 5000)] + 0.5 * rng.standard_t(4, (5000, 1024)))
    yield "feature-like", rows, dict(threshold=0.22, branching_factor=50, n_clusters=5)
    for path in feature_files:
        rows = read_features(path)
        spread = np.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1)))
        for part in (0.5, 0.8):
            options = dict(threshold=float(part * spread), branching_factor=50, n_clusters=5)
            yield f"{path} at {part} of the spread", rows, options


def ours(program, rows, options, folder):
    rows.tofile(folder / "rows.f32")
    command = [program, "--input", folder / "rows.f32", "--labels", folder / "labels.json", "--dim", str(rows.shape[1]),
               "--rows", str(len(rows)), "--fit-rows", str(len(rows)), "--threshold", repr(options["threshold"]),
               "--branching-factor", str(options["branching_factor"]), "--clusters", str(options["n_clusters"])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return np.array(json.loads((folder / "labels.json").read_text()))


def main():
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, options in data_sets(sys.argv[2:]):
            rows = np.ascontiguousarray(rows, dtype=np.float32)
            birch = Birch(**options).fit(rows)
            labels = ours(sys.argv[1], rows, options, Path(folder))
            index = adjusted_rand_score(birch.labels_, labels)
            worst = min(worst, index)
            print(f"{name}: {rows.shape}, {len(birch.subcluster_centers_)} subclusters, adjusted Rand index {index:.6f}, "
                  f"{np.sum(labels != birch.labels_)} labels differ", flush=True)
    return 0 if worst == 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
