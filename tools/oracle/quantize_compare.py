#!/usr/bin/env python3
"""Compares `elrea model quantize` with bitsandbytes on a real model: quantize_compare.py ELREA MODEL_DIR

MODEL_DIR is a dense Hugging Face directory. For each format: every stored tensor of our directory against what transformers and
bitsandbytes save for the same model, byte for byte; and that transformers loads our directory. Needs torch, transformers,
bitsandbytes and accelerate.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

FOUR = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
KINDS = {
    "nf4": BitsAndBytesConfig(**FOUR),
    "nf4_double": BitsAndBytesConfig(**FOUR, bnb_4bit_use_double_quant=True),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


def tensors(folder):
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: file.get_tensor(name) for name in file.keys()})
    return found


def states_equal(ours, theirs):
    """The JSON of a 4-bit state, key by key; the offset is a mean, whose last bit depends on the order of its sum."""
    a, b = (json.loads(bytes(t.tolist())) for t in (ours, theirs))
    return {k: v for k, v in a.items() if k != "nested_offset"} == {k: v for k, v in b.items() if k != "nested_offset"} and abs(
        a.get("nested_offset", 0) - b.get("nested_offset", 0)) < 1e-7


def compare(elrea, model, kind, config):
    with tempfile.TemporaryDirectory() as temp:
        subprocess.run([elrea, "model", "quantize", model, "--to", kind, "--output", temp + "/ours"], check=True)
        reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, quantization_config=config, device_map="cpu")
        reference.save_pretrained(temp + "/theirs")
        ours, theirs = tensors(temp + "/ours"), tensors(temp + "/theirs")
        names = {n for n in theirs if n != "lm_head.weight"}
        missing, other, codes, wrong = names - set(ours), 0, 0, 0
        for name in sorted(names & set(ours)):
            a, b = ours[name], theirs[name]
            if "quant_state" in name:
                other += not states_equal(a, b)
            elif a.dtype != b.dtype or a.shape != b.shape:
                other += 1
            elif a.dtype in (torch.uint8, torch.int8):
                codes += a.numel()
                wrong += int((a != b).sum())
            elif not torch.equal(a, b) and not torch.allclose(a.float(), b.float(), rtol=2e-7, atol=0):
                other += 1
        loaded = AutoModelForCausalLM.from_pretrained(temp + "/ours", dtype=torch.bfloat16, device_map="cpu")
        ids = torch.arange(5, 37).unsqueeze(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):  # its 8-bit layers return f32
            difference = (loaded(ids).logits - reference(ids).logits).abs().max().item()
        print(f"{kind}: {len(names)} tensors, {len(missing)} missing, {other} other differences; {wrong} of {codes} code bytes differ; "
              f"logits of ours and theirs in transformers differ by {difference:.3g}")
        return not missing and not other and wrong <= codes * 1e-6


def main():
    elrea, model = sys.argv[1:3]
    results = [compare(elrea, model, kind, config) for kind, config in KINDS.items()]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
