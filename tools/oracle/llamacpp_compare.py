#!/usr/bin/env python3
"""Compares transformers with llama.cpp on the tiny checkpoints of model_families.py, by way of their GGUF files.

    llamacpp_compare.py tests/golden

This is what says that those files are laid out as llama.cpp expects. They are written again in F32, since llama.cpp
rounds what it multiplies with BF16 matrices. phi3 is compared without its window, which llama.cpp leaves out, and with
a context up to which the short rope factors hold; it takes at least 256 positions. Prints the largest difference of all
logits of each family; exit status 1 when one is above 2e-3.
"""
import contextlib
import os
import pathlib
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from model_families import FAMILIES, write_gguf

BOUND = 2e-3


def llamacpp_logits(path, texts):
    model = llama_cpp.Llama(model_path=str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1,
                            flash_attn=False, type_k=0, type_v=0)
    for text in texts:
        model.reset()
        model.eval(text)
        yield np.array(model.scores[:len(text)])


def main():
    ok = True
    for family in FAMILIES:
        folder = pathlib.Path(sys.argv[1]) / f"family_{family}"
        if not (folder / "model.gguf").exists():
            print(f"{family}: no GGUF file")
            continue
        config = AutoConfig.from_pretrained(folder)
        if family == "phi3":
            config.sliding_window, config.original_max_position_embeddings = None, 256
            config.max_position_embeddings = 512
            config.rope_parameters["original_max_position_embeddings"] = 256
        model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                     attn_implementation="eager").eval()
        golden = load_file(folder / "golden.safetensors")
        texts = [golden[f"tokens_{i}"].tolist() for i in range(3)]
        with tempfile.TemporaryDirectory() as temp, contextlib.redirect_stderr(open(os.devnull, "w")):
            write_gguf(model, family, temp + "/model.gguf", gguf.GGMLQuantizationType.F32)
            with torch.no_grad():
                worst = max(float(np.abs(ours - model(torch.tensor([text])).logits[0].numpy()).max())
                            for text, ours in zip(texts, llamacpp_logits(temp + "/model.gguf", texts)))
        print(f"{family}: largest difference {worst:.2e}")
        ok &= worst <= BOUND
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
