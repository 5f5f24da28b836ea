#!/usr/bin/env python3
"""Makes adapters with PEFT's various options, and what PEFT computes with them and with merges of them.

    adapter_peft.py tests/golden

on the tiny Qwen 2 of model_families.py, into tests/golden/adapters: a folder for each adapter, and golden.safetensors
(f32) with `tokens` [n] i64, `logits.<adapter>` and `merged.<method>` [n, vocab]: the merges are those of adapters
"first" and "second" with weights 0.7 and -0.4, density 0.6, rank 3 for the _svd methods.
"""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "first": dict(r=2, lora_alpha=5, target_modules=ALL),
    "second": dict(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj", "down_proj"]),
    "patterns": dict(r=2, lora_alpha=5, target_modules=ALL,
                     rank_pattern={"q_proj": 4, r"layers\.1\.mlp\.(up|gate)_proj": 1},
                     alpha_pattern={"o_proj": 7, "model.layers.0.mlp.down_proj": 2}),
    "rslora": dict(r=4, lora_alpha=3, target_modules=["q_proj", "o_proj"], use_rslora=True, rank_pattern={"o_proj": 2}),
    "one_layer": dict(r=2, lora_alpha=6, target_modules=["k_proj", "up_proj"], layers_to_transform=[1]),
    "expression": dict(r=2, lora_alpha=6, target_modules=r".*\.0\.self_attn\.(q|v)_proj"),
    "bf16": dict(r=2, lora_alpha=6, target_modules=ALL),
    "sharded": dict(r=2, lora_alpha=6, target_modules=ALL),
}
METHODS = ["linear", "cat", "svd", "ties", "ties_svd"]


def tidy(folder):
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    config = json.load(open(path)) | {"base_model_name_or_path": "tiny"}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    with open(path, "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def shard(folder):
    """Splits the tensors over two files with an index, as huggingface_hub splits large states."""
    path = os.path.join(folder, "adapter_model.safetensors")
    tensors = load_file(path)
    names, weight_map = sorted(tensors), {}
    for i, part in enumerate([names[::2], names[1::2]], 1):
        file = f"adapter_model-{i:05}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, os.path.join(folder, file))
        weight_map |= {n: file for n in part}
    os.remove(path)
    with open(os.path.join(folder, "adapter_model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": weight_map}, file, indent=1, sort_keys=True)
        file.write("\n")


def main():
    root = os.path.join(sys.argv[1], "adapters")
    shutil.rmtree(root, ignore_errors=True)
    base = os.path.join(sys.argv[1], "family_qwen2")
    load = lambda: AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(77)
    golden = {"tokens": torch.randint(3, 48, (19,), generator=generator)}
    logits = lambda model: model(golden["tokens"][None]).logits[0].detach().clone()
    for name, options in ADAPTERS.items():
        folder = os.path.join(root, name)
        model = get_peft_model(load(), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.data.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
                if name == "bf16":
                    parameter.data.copy_(parameter.data.bfloat16())
        golden["logits." + name] = logits(model)
        if name == "bf16":
            model = model.to(torch.bfloat16)
        model.save_pretrained(folder)
        tidy(folder)
    model = PeftModel.from_pretrained(load(), os.path.join(root, "first"), adapter_name="first")
    model.load_adapter(os.path.join(root, "second"), adapter_name="second")
    for method in METHODS:
        model.add_weighted_adapter(["first", "second"], [0.7, -0.4], method, combination_type=method, density=0.6,
                                   svd_rank=3 if "svd" in method else None)
        model.set_adapter(method)
        golden["merged." + method] = logits(model.eval())
    shard(os.path.join(root, "sharded"))
    save_file(golden, os.path.join(root, "golden.safetensors"))
    for folder, _, files in os.walk(root):
        for file in files:
            os.chmod(os.path.join(folder, file), 0o644)


if __name__ == "__main__":
    main()
