"""Measures the blockwise sparse projection (features/projection.h) against a dense matrix of random signs.

Three kinds of vectors, 1,000 pairs of unit vectors each: heavy-tailed, sums of outer products as LoRA gradients are
(with rows of very different size), and gradient-like pairs of cosine 0.8. For each, the error of inner products after
projecting to 8,192, as they come and after normalising (features are normalised): RMS over RMS of the dense matrix,
and the largest error in units of sqrt(1/8192). Exits with 1 when an RMS ratio exceeds 1.05.

Also writes tests/golden/projection.json, which holds the C++ code to this twin. Run from the repository root:
    python tools/oracle/projection_compare.py                       (about 3 min, 2 GiB)
    python tools/oracle/projection_compare.py --gradients F         (about 5 min, 6 GiB)
With --gradients, F of `elrea features --raw-gradients`, only the gradients of real rows are compared, in the order in which
elrea projects them. Their pairs share few vectors, so the dense matrix's RMS is its expectation,
sqrt(mean((1 + cos^2 - 2 sum_i x_i^2 y_i^2) / 8192)), beside that of one dense matrix.
"""
import json
import sys

import numpy as np
import scipy.sparse

MASK = (1 << 64) - 1
GOLDEN_RATIO = 0x9E3779B97F4A7C15
D_PROJ = 8192


def mix_bits(x):
    """core/rng.h MixBits on an array of uint64."""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sparse_projection(seed, num_inputs, d_proj, repetitions):
    """R of features/projection.h as two scipy sparse matrices: scatter [d_proj, padded] @ mix [padded, num_inputs]."""
    padded = -(-num_inputs // 256) * 256
    inputs = np.arange(padded)
    lanes = (inputs % 16).astype(np.uint64)
    rows, values, before = [], [], None
    for r in range(repetitions):
        stream = mix_bits(np.array([(seed + GOLDEN_RATIO * (r + 1)) & MASK], dtype=np.uint64))
        hashes = mix_bits(stream + np.uint64(GOLDEN_RATIO) * (inputs // 16 + 1).astype(np.uint64))
        offsets = ((hashes >> np.uint64(32)) * np.uint64(d_proj)) >> np.uint64(32)
        rows.append(((offsets + lanes) % np.uint64(d_proj)).astype(np.int64))
        values.append(np.where((hashes >> lanes) & np.uint64(1), -1.0, 1.0) / np.sqrt(repetitions))
        if r == 0:
            before = np.where((hashes >> (lanes + np.uint64(16))) & np.uint64(1), -1.0, 1.0)
    columns = np.tile(inputs, repetitions)
    scatter = scipy.sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), columns)), shape=(d_proj, padded))
    hadamard = np.ones((1, 1))
    while len(hadamard) < 16:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    block = scipy.sparse.kron(hadamard / 4, scipy.sparse.identity(16))
    mix = scipy.sparse.kron(scipy.sparse.identity(padded // 256), block, format="csr") @ scipy.sparse.diags(before)
    return scatter, mix.tocsr()[:, :num_inputs]


def project(projection, x):
    """x [n, P] to [n, d_proj]."""
    scatter, mix = projection
    return (scatter @ (mix @ x.T)).T


def dense_project(rng, x):
    """x [n, P] times a dense d_proj x P matrix of random signs, over sqrt(d_proj)."""
    out = np.zeros((len(x), D_PROJ))
    for begin in range(0, x.shape[1], 4096):
        block = x[:, begin : begin + 4096].astype(np.float32)
        signs = rng.integers(0, 2, (block.shape[1], D_PROJ), dtype=np.int8).astype(np.float32) * 2 - 1
        out += block @ signs
    return out / np.sqrt(D_PROJ)


def low_rank_blocks(rng, n, num_inputs, rank=8):
    """Per vector, blocks B^T A of few tokens and uneven rows, as the gradient of one LoRA matrix is."""
    parts = []
    left = num_inputs
    scales = rng.lognormal(0, 1.5, 64)
    for scale in scales:
        size = min(left, 1024)
        rows = scale * rng.lognormal(0, 1, rank)[:, None] * rng.standard_t(3, (n, rank, 2))
        columns = rng.lognormal(0, 1, size // rank)[None, None, :] * rng.standard_t(3, (n, 2, size // rank))
        parts.append((rows @ columns).reshape(n, -1))
        left -= size
    return np.concatenate(parts, axis=1)


def vector_sets(rng, num_inputs):
    n = 200
    heavy = rng.standard_t(2.1, (n, num_inputs))
    yield "heavy_tailed", heavy, [(i, j) for i in range(n) for j in range(i + 1, n)][:: (n * (n - 1) // 2) // 1000]
    blocks = low_rank_blocks(rng, n, num_inputs)
    yield "low_rank_blocks", blocks, [(i, j) for i in range(n) for j in range(i + 1, n)][:: (n * (n - 1) // 2) // 1000]
    unit = blocks / np.linalg.norm(blocks, axis=1, keepdims=True)
    common = low_rank_blocks(rng, 1, num_inputs)[0]
    common /= np.linalg.norm(common)
    rest = unit - (unit @ common)[:, None] * common
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    close = np.sqrt(0.8) * common + np.sqrt(0.2) * rest
    yield "cosine_0.8", close, [(i, j) for i in range(n) for j in range(i + 1, n)][:: (n * (n - 1) // 2) // 1000]


def errors(projected, exact, pairs):
    left, right = projected[[i for i, _ in pairs]], projected[[j for _, j in pairs]]
    plain = np.sum(left * right, axis=1) - exact
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return plain, np.sum(left * right, axis=1) / norms - exact


def compare():
    rng = np.random.default_rng(5)
    worst = 0.0
    num_inputs = 65536
    for name, x, pairs in vector_sets(rng, num_inputs):
        pairs = pairs[:1000]
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        exact = np.array([x[i] @ x[j] for i, j in pairs])
        dense = errors(dense_project(rng, x), exact, pairs)
        for repetitions in (1, 2, 4):
            runs = [errors(project(sparse_projection(seed, num_inputs, D_PROJ, repetitions), x), exact, pairs)
                    for seed in range(5)]
            for kind, which in (("plain", 0), ("normalised", 1)):
                rms = np.sqrt(np.mean([run[which] ** 2 for run in runs]))
                dense_rms = np.sqrt(np.mean(dense[which] ** 2))
                largest = max(np.abs(run[which]).max() for run in runs)
                over = np.mean([np.abs(run[which]) > 3 / np.sqrt(D_PROJ) for run in runs])
                if repetitions == 2:
                    worst = max(worst, rms / dense_rms)
                print(f"{name:16s} s={repetitions} {kind:10s} mean cosine {exact.mean():.3f}  rms {rms:.6f}"
                      f"  dense {dense_rms:.6f}  ratio {rms / dense_rms:.3f}  largest {largest * np.sqrt(D_PROJ):.2f}"
                      f" (dense {np.abs(dense[which]).max() * np.sqrt(D_PROJ):.2f}) x sqrt(1/8192),"
                      f" over 3: {over:.2%} (dense {np.mean(np.abs(dense[which]) > 3 / np.sqrt(D_PROJ)):.2%})",
                      flush=True)
    return worst


def real_gradients(path):
    """Unit rows [rows, P] of a file of raw gradients, flat as docs/formats.md says: layer, group, all A, all B."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    groups = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
    rows = 1 + max(int(name[3 : name.index(".")]) for name in tensors)
    layers = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in tensors)
    module = {(int(n.split(".layers.")[1].split(".")[0]), n.split(".")[-3], n.split(".")[-2]): n.split(".", 1)[1]
              for n in tensors if n.startswith("row0.")}
    order = [module[layer, member, f"lora_{side}"] for layer in range(layers) for group in groups
             for side in "AB" for member in group]
    x = np.stack([np.concatenate([tensors[f"row{row}.{name}"].ravel() for name in order]) for row in range(rows)])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def compare_gradients(path):
    x = real_gradients(path)
    pairs = [(i, j) for i in range(len(x)) for j in range(i + 1, len(x))][:1000]
    exact = np.array([np.dot(x[i], x[j]) for i, j in pairs], dtype=np.float64)
    overlap = np.array([np.dot(x[i] ** 2, x[j] ** 2) for i, j in pairs], dtype=np.float64)
    expected = np.sqrt(np.mean((1 + exact**2 - 2 * overlap) / D_PROJ))
    dense, _ = errors(dense_project(np.random.default_rng(5), x), exact, pairs)
    runs = np.array([errors(project(sparse_projection(seed, x.shape[1], D_PROJ, 2), x), exact, pairs)[0]
                     for seed in range(8)])
    rms, bound = np.sqrt(np.mean(runs**2)), 3 / np.sqrt(D_PROJ)
    print(f"{len(x)} gradients of {x.shape[1]} coordinates, {len(pairs)} pairs, mean cosine {exact.mean():.3f}: rms {rms:.6f},"
          f" dense {expected:.6f} expected, {np.sqrt(np.mean(dense**2)):.6f} measured, ratio {rms / expected:.3f};"
          f" over 3*sqrt(1/8192): {np.mean(np.abs(runs) > bound):.2%} (dense {np.mean(np.abs(dense) > bound):.2%})")
    return rms / expected


def write_golden():
    x = ((np.arange(1000) * 37) % 101 - 50) / 64
    cases = []
    for seed, d_proj, repetitions in ((7, 64, 2), (2**63 + 5, 100, 1), (0, 48, 4)):
        out = project(sparse_projection(seed, len(x), d_proj, repetitions), x[None])[0]
        cases.append({"seed": str(seed), "d_proj": d_proj, "repetitions": repetitions, "out": out.tolist()})
    with open("tests/golden/projection.json", "w") as file:
        json.dump({"input": "((37 i) mod 101 - 50) / 64, i < 1000", "cases": cases}, file)
        file.write("\n")


if __name__ == "__main__":
    if "--gradients" in sys.argv:
        sys.exit(1 if compare_gradients(sys.argv[sys.argv.index("--gradients") + 1]) > 1.05 else 0)
    write_golden()
    if "--golden-only" not in sys.argv:
        sys.exit(1 if compare() > 1.05 else 0)
