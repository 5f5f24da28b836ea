#!/usr/bin/env python3
"""Compares transformers with llama.cpp on the tiny checkpoints of model_families.py, by way of their GGUF files.

    llamacpp_compare.py tests/golden [--elrea build/release/elrea]

With --elrea also their adapters, exported by `elrea adapter export` to llama.cpp's LoRA files, against PEFT.

This is what says that those files are laid out as llama.cpp expects. They are written again in F32, since llama.cpp
rounds what it multiplies with BF16 matrices. phi3 is compared without its window, which llama.cpp leaves out, and with
a context up to which the short rope factors hold; it takes at least 256 positions. Prints the largest difference of all
logits of each family; exit status 1 when one is above 2e-3.
"""
import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from model_families import FAMILIES, write_gguf

BOUND = 2e-3


def llamacpp_logits(path, texts, adapter=None):
    model = llama_cpp.Llama(model_path=str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1,
                            flash_attn=False, type_k=0, type_v=0, lora_path=adapter)
    for text in texts:
        model.reset()
        model.eval(text)
        yield np.array(model.scores[:len(text)])


def largest_difference(model, path, texts, adapter=None):
    with torch.no_grad(), contextlib.redirect_stderr(open(os.devnull, "w")):
        return max(float(np.abs(ours - model(torch.tensor([text])).logits[0].numpy()).max())
                   for text, ours in zip(texts, llamacpp_logits(path, texts, adapter)))


def load(folder, family):
    config = AutoConfig.from_pretrained(folder)
    if family == "phi3":
        config.sliding_window, config.original_max_position_embeddings = None, 256
        config.max_position_embeddings = 512
        config.rope_parameters["original_max_position_embeddings"] = 256
    return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                attn_implementation="eager").eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", type=pathlib.Path)
    parser.add_argument("--elrea")
    arguments = parser.parse_args()
    ok = True
    for family in FAMILIES:
        folder = arguments.golden / f"family_{family}"
        if not (folder / "model.gguf").exists():
            print(f"{family}: no GGUF file")
            continue
        model = load(folder, family)
        golden = load_file(folder / "golden.safetensors")
        texts = [golden[f"tokens_{i}"].tolist() for i in range(3)]
        with tempfile.TemporaryDirectory() as temp:
            path, lora = temp + "/model.gguf", temp + "/adapter.gguf"
            write_gguf(model, family, path, gguf.GGMLQuantizationType.F32)
            differences = [largest_difference(model, path, texts)]
            if arguments.elrea:
                subprocess.run([arguments.elrea, "adapter", "export", str(folder / "adapter"), "--model", path, "--output",
                                lora], check=True, capture_output=True)
                adapted = PeftModel.from_pretrained(model, folder / "adapter").eval()
                differences.append(largest_difference(adapted, path, texts, lora))
        print(f"{family}: largest difference " + ", with the adapter ".join(f"{d:.2e}" for d in differences))
        ok &= max(differences) <= BOUND
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
