#!/usr/bin/env python3
"""Makes tests/golden/model_dequantize.safetensors: random blocks of every GGUF tensor type and gguf-py's values.

    model_dequantize.py tests/golden/model_dequantize.safetensors

Bytes are uniformly random, so that every nibble, sign and f16 scale occurs, among them subnormal, infinite and NaN
ones; the last block of each type but F32 is all ones (every scale a NaN). "<type>.blocks" is U8, "<type>.values" F32.
"""
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from safetensors.numpy import save_file

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
ELEMENTS = 2048


def main():
    rng = np.random.default_rng(7)
    tensors = {}
    for name in TYPES:
        kind = GGMLQuantizationType[name]
        block_elements, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, ELEMENTS // block_elements * block_bytes, dtype=np.uint8)
        if name != "F32":
            blocks[-block_bytes:] = 255
        with np.errstate(all="ignore"):
            values = dequantize(blocks.reshape(1, -1), kind).reshape(-1)
        tensors[f"{name}.blocks"] = blocks
        tensors[f"{name}.values"] = np.array(values, dtype=np.float32)
    save_file(tensors, sys.argv[1])


if __name__ == "__main__":
    main()
