"""Writes tests/golden/birch.safetensors: small data sets with the labels scikit-learn's Birch gives them.

Rows are stored as 16-bit integers and a power-of-two scale, so C++ and numpy see the same float32 values.
Run from the repository root:  python tools/oracle/birch_golden.py      (scikit-learn 1.9, about 10 s)
"""
import json
import struct

import numpy as np
from sklearn.cluster import Birch


def blobs(rng, n, d, k, spread):
    centers = rng.uniform(-3, 3, (k, d))
    return centers[rng.integers(0, k, n)] + spread * rng.standard_normal((n, d))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def data_sets():
    rng = np.random.default_rng(11)
    yield "blobs", blobs(rng, 1500, 2, 6, 0.3), dict(threshold=0.3, branching_factor=50, n_clusters=6)
    yield "many_splits", blobs(rng, 6000, 3, 9, 0.4), dict(threshold=0.12, branching_factor=8, n_clusters=9)
    stretch = np.diag([4.0, 1.0, 0.5, 0.25, 0.125]) @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    yield "anisotropic", blobs(rng, 900, 5, 4, 0.4) @ stretch, dict(threshold=0.4, branching_factor=20, n_clusters=4)
    directions = rng.standard_normal((10, 96))
    rows = unit(directions[rng.integers(0, 10, 400)] * 0.8 + rng.standard_normal((400, 96)))
    yield "unit_rows", rows, dict(threshold=0.55, branching_factor=10, n_clusters=5)
    # Shaped like gradient features: a large common part, five sources, heavy tails.
    common, sources = rng.standard_normal(64) * 2, rng.standard_normal((5, 64)) * 0.7
    rows = unit(common + sources[rng.integers(0, 5, 500)] + 0.4 * rng.standard_t(4, (500, 64)))
    yield "features", rows, dict(threshold=0.15, branching_factor=12, n_clusters=5)
    grid = np.stack(np.meshgrid(np.arange(24.0), np.arange(24.0)), -1).reshape(-1, 2)
    yield "grid_with_ties", grid, dict(threshold=1.0, branching_factor=6, n_clusters=7)


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    tensors, metadata = {}, {}
    for name, rows, options in data_sets():
        scale = 2.0 ** np.floor(np.log2(32000 / np.abs(rows).max()))
        stored = np.round(rows * scale).astype(np.int16)
        exact = (stored / scale).astype(np.float32)
        birch = Birch(**options).fit(exact)
        tensors[name + ".rows"] = ("I16", stored)
        tensors[name + ".labels"] = ("I32", birch.labels_.astype(np.int32))
        metadata[name] = json.dumps({**options, "scale": scale, "subclusters": len(birch.subcluster_centers_)})
        print(name, exact.shape, metadata[name], np.bincount(birch.labels_))
    write_safetensors("tests/golden/birch.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
