#!/usr/bin/env python3
"""Makes the tiny random checkpoints and golden logits that the decoder and the loaders are tested with.

    model_tiny.py tests/golden

writes, for each of model_tiny_llama (f32, untied head, grouped keys) and model_tiny_gemma3 (bf16, tied, every switch
of the family: sliding windows shorter than the text, two rope bases, linear rope scaling, q and k norms, post norms,
soft-capped logits, an attention scale that is not 1/sqrt(head_dim)):

    config.json, model.safetensors   as transformers saves them
    model.gguf                       the same tensors in F32 by gguf-py, as llama.cpp's converter lays them out
    golden.json                      {"tokens": [[...], ...], "logits": [[[...], ...], ...]}, by transformers in f32

Each text is one sequence without padding; logits are [sequence][position][vocab].
"""
import json
import os
import sys

import gguf
import torch
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

from model_families import add_sizes, randomise, write_tensors

VOCAB = 96
LENGTHS = [1, 7, 24]

LLAMA = LlamaConfig(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
GEMMA3 = Gemma3TextConfig(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=1, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-6, query_pre_attn_scalar=12,
    sliding_window=5, layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    final_logit_softcapping=20.0,
    rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})


def write_gguf(model, family, path):
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    add_sizes(writer, config)
    if family == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    else:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_float32("gemma3.attention.scale", config.query_pre_attn_scalar**-0.5)
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["full_attention"]["factor"])
        writer.add_sliding_window(config.sliding_window)
        writer.add_array("gemma3.attention.sliding_window_pattern",
                         [kind == "sliding_attention" for kind in config.layer_types])
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    write_tensors(writer, model, family, gguf.GGMLQuantizationType.F32)


def make(model, family, dtype, folder, seed):
    randomise(model, seed)
    model = model.to(dtype).eval()
    model.save_pretrained(folder)
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    write_gguf(model, family, os.path.join(folder, "model.gguf"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed + 1)
    tokens = [torch.randint(1, VOCAB, (length,), generator=generator).tolist() for length in LENGTHS]
    with torch.no_grad():
        logits = [model(torch.tensor([text])).logits[0].tolist() for text in tokens]
    shortened = [[[float(f"{value:.8g}") for value in row] for row in text] for text in logits]
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump({"tokens": tokens, "logits": shortened}, file, separators=(",", ":"))
        file.write("\n")


def main():
    root = sys.argv[1]
    make(LlamaForCausalLM(LLAMA), "llama", torch.float32, os.path.join(root, "model_tiny_llama"), 11)
    make(Gemma3ForCausalLM(GEMMA3), "gemma3", torch.bfloat16, os.path.join(root, "model_tiny_gemma3"), 12)


if __name__ == "__main__":
    main()
