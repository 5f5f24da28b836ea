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
import numpy as np
import torch
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

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

GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
FAMILY_NAMES = {
    "llama": {"post_attention_layernorm": "ffn_norm"},
    "gemma3": {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
               "post_feedforward_layernorm": "post_ffw_norm"},
}


def randomise(model, seed):
    """Deviation 1/sqrt(in) for matrices; norm factors about one, whichever way the family stores them."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            values = parameter.data.float().round() + 0.2 * values
        else:
            values = values / parameter.shape[-1] ** 0.5
        parameter.data.copy_(values)


def gguf_name(name, family):
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{(GGUF_NAMES | FAMILY_NAMES[family])[part]}.weight"


def interleave(rows, heads):
    """Half-split rope rows to GGUF's pairs, as llama.cpp's converter permutes q and k of Llama."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(model, family, path):
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
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
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if family == "llama" and ".q_proj." in name:
            values = interleave(values, config.num_attention_heads)
        if family == "llama" and ".k_proj." in name:
            values = interleave(values, config.num_key_value_heads)
        if family == "gemma3" and "norm" in name:
            values = values + 1
        writer.add_tensor(gguf_name(name, family), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
