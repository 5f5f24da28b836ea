#!/usr/bin/env python3
"""Makes tiny checkpoints quantised by bitsandbytes and what it dequantises them to: bitsandbytes_tiny.py tests/golden

From the tiny Qwen 2 of model_families.py, into bitsandbytes_nf4 (4 bits with double quantisation), bitsandbytes_fp4 (4 bits,
plain) and bitsandbytes_int8: config.json and model.safetensors as transformers saves them, and dequantised.safetensors:
each quantised matrix as f32, by bitsandbytes' own functions.
"""
import os
import shutil
import sys

import torch
from bitsandbytes import functional
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

FOUR = dict(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
KINDS = {
    "nf4": BitsAndBytesConfig(**FOUR, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "fp4": BitsAndBytesConfig(**FOUR, bnb_4bit_quant_type="fp4"),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


def dequantise_4bit(weight):
    """In rows of one block: bitsandbytes' CPU kernel takes the first scale for all of a matrix whose rows are shorter."""
    state, shape = weight.quant_state, weight.quant_state.shape
    state.shape = torch.Size([shape.numel() // state.blocksize, state.blocksize])
    return functional.dequantize_4bit(weight.data, state).reshape(shape)


def main():
    for kind, config in KINDS.items():
        folder = os.path.join(sys.argv[1], "bitsandbytes_" + kind)
        shutil.rmtree(folder, ignore_errors=True)
        model = AutoModelForCausalLM.from_pretrained(os.path.join(sys.argv[1], "family_qwen2"), dtype=torch.float32,
                                                     quantization_config=config, device_map="cpu")
        model.save_pretrained(folder)
        matrices = {}
        for name, module in model.named_modules():
            if isinstance(module, Linear4bit):
                matrices[name + ".weight"] = dequantise_4bit(module.weight)
            elif isinstance(module, Linear8bitLt):
                matrices[name + ".weight"] = functional.int8_vectorwise_dequant(module.weight.data, module.weight.SCB)
        save_file({n: m.float().contiguous() for n, m in matrices.items()}, os.path.join(folder, "dequantised.safetensors"))
        os.remove(os.path.join(folder, "generation_config.json"))
        for file in os.listdir(folder):
            os.chmod(os.path.join(folder, file), 0o644)


if __name__ == "__main__":
    main()
