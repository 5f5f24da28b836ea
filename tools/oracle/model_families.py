#!/usr/bin/env python3
"""Makes a tiny random checkpoint of every family with its switches on, and what transformers and PEFT compute from it.

    model_families.py tests/golden [FAMILY ...]

writes, for each family, into family_<name>:

    config.json, model.safetensors   bf16, as transformers saves them
    model.gguf                       the same tensors (BF16, vectors F32) by gguf-py, as llama.cpp's converter lays them
                                     out; not for mistral and qwen2_window, of which GGUF does not keep the window
    adapter/                         a random LoRA adapter of all linear layers (f32), as PEFT saves it
    golden.safetensors               f32: tokens_<i> [n] i64; logits_<i>, adapted_<i> [n, vocab], without and with the
                                     adapter; loss_<i> [1], the adapted model's mean over next tokens; and
                                     gradient.<name> of the sum of these losses for each adapter matrix

All computed in f32 from the bf16 tensors, eager attention. A whole file is a few tens of kilobytes.
"""
import json
import math
import os
import shutil
import sys

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers import (Gemma2Config, GemmaConfig, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config, Qwen3Config,
                          SmolLM3Config)

LENGTHS = [1, 9, 26]
SIZES = dict(vocab_size=48, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)
SLIDE, FULL = "sliding_attention", "full_attention"

FAMILIES = {
    # Llama 3: scaled rope, biases everywhere, an untied head.
    "llama": LlamaConfig(
        **SIZES, num_hidden_layers=2, head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "mistral": MistralConfig(
        **SIZES, num_hidden_layers=2, head_dim=16, sliding_window=6, tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}),
    "qwen2": Qwen2Config(
        **SIZES, num_hidden_layers=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}),
    "qwen2_window": Qwen2Config(
        **SIZES, num_hidden_layers=3, use_sliding_window=True, sliding_window=6, max_window_layers=1,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "qwen3": Qwen3Config(
        **SIZES, num_hidden_layers=2, head_dim=16, tie_word_embeddings=False,
        rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
                         "original_max_position_embeddings": 32}),
    "gemma": GemmaConfig(
        **(SIZES | dict(num_key_value_heads=1)), num_hidden_layers=2, head_dim=16,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
    "gemma2": Gemma2Config(
        **SIZES, num_hidden_layers=3, head_dim=16, query_pre_attn_scalar=16, sliding_window=6,
        attn_logit_softcapping=2.0, final_logit_softcapping=5.0,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
    "phi3": Phi3Config(
        **SIZES, num_hidden_layers=2, sliding_window=6, tie_word_embeddings=False,
        original_max_position_embeddings=64,
        rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.2, 1.5, 2.0],
                         "long_factor": [1.0, 2.0, 4.0, 8.0]}),
    "smollm3": SmolLM3Config(
        **SIZES, num_hidden_layers=5, tie_word_embeddings=True, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 2e6}),
}

GGUF_TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}
GGUF_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
POST_NORM_PARTS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                   "post_feedforward_layernorm": "post_ffw_norm"}


def randomise(model, seed):
    """Deviation 1/sqrt(in) for matrices; norm factors about one, whichever way the family stores them; biases about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            values = (0 if name.endswith("bias") else parameter.data.float().round()) + 0.2 * values
        else:
            values = values / parameter.shape[-1] ** 0.5
        parameter.data.copy_(values)


def interleave(rows, heads):
    """Half-split rope rows to GGUF's pairs, as llama.cpp's converter permutes q and k of some families."""
    return rows.reshape(heads, 2, -1, rows[0].size).swapaxes(1, 2).reshape(rows.shape)


def llama3_factors(rope, head_dim):
    """What the converter stores in rope_freqs.weight: each frequency is divided by its factor."""
    n, factors = rope["original_max_position_embeddings"], []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        if wavelength < n / high:
            factors.append(1.0)
        elif wavelength > n / low:
            factors.append(rope["factor"])
        else:
            smooth = (n / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def add_rope(writer, config, head_dim):
    rope = config.rope_parameters
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, head_dim))
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif rope["rope_type"] == "longrope":
        original = config.original_max_position_embeddings
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))


def add_sizes(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def gguf_name(name, family):
    if name in GGUF_TOP:
        return GGUF_TOP[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    parts = GGUF_PARTS | (POST_NORM_PARTS if family in ("gemma2", "gemma3") else {})
    return f"blk.{layer}.{parts[part]}.{kind}"


def write_tensors(writer, model, family, matrices):
    """Adds the tensors as llama.cpp's converter lays them out, matrices in the type `matrices`, and finishes the file."""
    config = model.config
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if family in ("llama", "smollm3") and ".q_proj." in name:
            values = interleave(values, config.num_attention_heads)
        if family in ("llama", "smollm3") and ".k_proj." in name:
            values = interleave(values, config.num_key_value_heads)
        if family.startswith("gemma") and "norm" in name:
            values = values + 1
        values = np.ascontiguousarray(values)
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name, family), values)
        else:
            writer.add_tensor(gguf_name(name, family), gguf.quants.quantize(values, matrices), raw_dtype=matrices)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(model, family, path, matrices=gguf.GGMLQuantizationType.BF16):
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, family)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    add_sizes(writer, config)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    add_rope(writer, config, head_dim)
    if family in ("gemma2", "phi3") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    write_tensors(writer, model, family, matrices)


def make_adapter(model, folder, seed):
    targets = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if model.config.model_type == "phi3" else \
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, target_modules=targets, task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    config = json.load(open(path)) | {"base_model_name_or_path": "tiny"}
    config["target_modules"] = sorted(config["target_modules"])
    with open(path, "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def make(name, root, seed):
    folder = os.path.join(root, f"family_{name}")
    shutil.rmtree(folder, ignore_errors=True)
    config = FAMILIES[name]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, seed)
    model = model.to(torch.bfloat16).eval()
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    if name not in ("mistral", "qwen2_window"):
        write_gguf(model, name, os.path.join(folder, "model.gguf"))
    load = lambda: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    make_adapter(load(), os.path.join(folder, "adapter"), seed + 1)
    plain = load().eval()
    adapted = PeftModel.from_pretrained(load(), os.path.join(folder, "adapter"), is_trainable=True).eval()
    generator = torch.Generator().manual_seed(seed + 2)
    golden = {}
    for i, length in enumerate(LENGTHS):
        tokens = torch.randint(3, SIZES["vocab_size"], (1, length), generator=generator)
        golden[f"tokens_{i}"] = tokens[0]
        with torch.no_grad():
            golden[f"logits_{i}"] = plain(tokens).logits[0].clone()
        output = adapted(tokens, labels=tokens)
        golden[f"adapted_{i}"] = output.logits[0].detach().clone()
        if length > 1:
            output.loss.backward()
            golden[f"loss_{i}"] = output.loss.detach().reshape(1)
    for parameter_name, parameter in adapted.named_parameters():
        if "lora_" in parameter_name:
            golden["gradient." + parameter_name.replace(".default", "")] = parameter.grad.clone()
    save_file(golden, os.path.join(folder, "golden.safetensors"))
    for base, _, files in os.walk(folder):
        for file in files:
            os.chmod(os.path.join(base, file), 0o644)


def main():
    root, names = sys.argv[1], sys.argv[2:] or list(FAMILIES)
    for name in names:
        make(name, root, 100 + 10 * list(FAMILIES).index(name))


if __name__ == "__main__":
    main()
