#!/usr/bin/env python3
"""Compares a dump of elrea's weights with gguf-py's dequantised tensors, bit for bit.

    elrea model dump M.gguf --output F.safetensors
    model_tensors.py M.gguf F.safetensors [--hf DIR]

Every tensor of the GGUF file must be in the dump under its Hugging Face name with equal bits (llama's q and k rows put
back to half-split rope order), and no other may be there. With --hf, also compares with the checkpoint that
transformers made of the same GGUF; its Gemma norms are stored minus one, so (w - 1) + 1 may differ from w by one
rounding: these are counted apart. Exit status 1 when any bit differs. A bf16 dump is compared with torch's rounding.
"""
import argparse
import re
import sys

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors import safe_open

LAYER_NAMES = {
    "llama": {"ffn_norm": "post_attention_layernorm"},
    "gemma3": {
        "ffn_norm": "pre_feedforward_layernorm",
        "post_attention_norm": "post_attention_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
    },
}
COMMON_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def hf_name(name, architecture):
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    layer, part = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name).groups()
    return f"model.layers.{layer}.{(COMMON_NAMES | LAYER_NAMES[architecture])[part]}.weight"


def to_half_split(rows, heads):
    """Rows of interleaved rope pairs to Hugging Face's order: [heads, head_dim/2, 2] -> [heads, 2, head_dim/2]."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def reference_tensors(path):
    reader = GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    heads = reader.fields[f"{architecture}.attention.head_count"].contents()
    kv_heads = reader.fields[f"{architecture}.attention.head_count_kv"].contents()
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        values = dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        if architecture == "llama" and ".attn_q." in tensor.name:
            values = to_half_split(values, heads)
        if architecture == "llama" and ".attn_k." in tensor.name:
            values = to_half_split(values, kv_heads)
        yield hf_name(tensor.name, architecture), tensor.tensor_type.name, torch.from_numpy(np.array(values))


def bits(tensor):
    return tensor.contiguous().view(torch.int16 if tensor.element_size() == 2 else torch.int32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf")
    parser.add_argument("dump")
    parser.add_argument("--hf", help="directory that transformers wrote from the same GGUF")
    args = parser.parse_args()
    dump = safe_open(args.dump, "pt")
    hf = safe_open(args.hf + "/model.safetensors", "pt") if args.hf else None
    unseen = set(dump.keys())
    counts, differing, rounded, hf_differing = {}, [], [], []
    for name, kind, expected in reference_tensors(args.gguf):
        counts[kind] = counts.get(kind, 0) + 1
        if name not in unseen:
            differing.append(name + " (missing)")
            continue
        unseen.remove(name)
        actual = dump.get_tensor(name)
        wanted = expected.to(actual.dtype)
        if actual.shape != wanted.shape or not torch.equal(bits(actual), bits(wanted)):
            differing.append(name)
        if hf is None:
            continue
        theirs = hf.get_tensor(name)
        if torch.equal(bits(theirs.to(actual.dtype)), bits(actual)):
            continue
        plus_one = theirs + 1
        near = plus_one.dim() == 1 and torch.allclose(plus_one, expected, rtol=2e-7, atol=1e-7)
        same = torch.equal(bits(plus_one), bits(expected))
        (rounded if same or near else hf_differing).append((name, int((bits(plus_one) != bits(expected)).sum())))
    differing += [name + " (not in the GGUF file)" for name in sorted(unseen)]
    print(f"tensors by type: {counts}; bits differ in {len(differing)}: {differing[:8]}")
    if hf is not None:
        print(f"against {args.hf}: {len(rounded)} norms stored minus one, {sum(n for _, n in rounded)} of their values "
              f"rounded on the way; {len(hf_differing)} other tensors differ: {hf_differing[:8]}")
    return 1 if differing or hf_differing else 0


if __name__ == "__main__":
    sys.exit(main())
