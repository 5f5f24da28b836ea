"""PEFT's side of decode_bench: one prompt under 1, 5 or 9 adapters in a mixed batch (adapter_names), the next token
from the weighted logits, bf16, two threads."""
import argparse
import json
import time

import torch
from peft import LoraConfig, get_peft_model

from common import load_model, load_tokenizer

NEW_TOKENS = 24

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--prompt")
parser.add_argument("--output")
args = parser.parse_args()

torch.set_num_threads(2)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
config = LoraConfig(r=8, lora_alpha=32, target_modules=targets, init_lora_weights=False)
ids = load_tokenizer(args.model)(args.prompt, return_tensors="pt")["input_ids"]
model = get_peft_model(load_model(args.model, torch.bfloat16), config, adapter_name="a0")
for i in range(1, 9):
    model.add_adapter(f"a{i}", config)
model.eval()


@torch.inference_mode()
def decode_ms(names):
    rows = len(names)
    weights = torch.softmax(torch.randn(rows), 0).to(torch.bfloat16)
    mixed = {"adapter_names": names} if rows > 1 else {}
    if rows == 1:
        model.set_adapter(names[0])
    out = model(input_ids=ids.repeat(rows, 1), use_cache=True, **mixed)
    cache = out.past_key_values
    start = time.time()
    for _ in range(NEW_TOKENS):
        token = (out.logits[:, -1] * weights[:, None]).sum(0).argmax()
        out = model(input_ids=token.view(1, 1).repeat(rows, 1), past_key_values=cache, use_cache=True, **mixed)
    return 1e3 * (time.time() - start) / NEW_TOKENS


result = {}
for rows in (1, 5, 9):
    names = [f"a{i}" for i in range(rows)]
    decode_ms(names)
    result[f"PEFT decode {rows}"] = decode_ms(names)
with open(args.output, "w") as file:
    json.dump(result, file)
