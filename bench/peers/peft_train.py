#!/usr/bin/env python3
"""PEFT's side of bench/train_bench.cc: LoRA fine-tuning with transformers on the same batches of the same tokens.

A batch is padded to its longest row; the loss counts response tokens only. Writes {"tokens_per_s": [real tokens a
second of each step], "peak_mib", "losses"}.
"""
import argparse
import json
import resource
import time

import torch
from common import load_model
from peft import LoraConfig, get_peft_model

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def padded(rows):
    width = max(len(r["tokens"]) for r in rows)
    ids = [r["tokens"] + [0] * (width - len(r["tokens"])) for r in rows]
    mask = [[1] * len(r["tokens"]) + [0] * (width - len(r["tokens"])) for r in rows]
    labels = [[-100] * r["num_prompt"] + r["tokens"][r["num_prompt"] :] + [-100] * (width - len(r["tokens"])) for r in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--batches", required=True, help="JSON list of lists of row numbers")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [json.loads(line) for line in open(args.rows)]
    config = LoraConfig(r=args.rank, lora_alpha=4 * args.rank, lora_dropout=args.dropout, target_modules=PROJECTIONS)
    model = get_peft_model(load_model(args.model, getattr(torch, args.dtype)), config)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.learning_rate)
    rates, losses = [], []
    for batch in json.load(open(args.batches)):
        inputs = padded([rows[i] for i in batch])
        start = time.perf_counter()
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.append(int(inputs["attention_mask"].sum()) / (time.perf_counter() - start))
        losses.append(loss.item())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({"tokens_per_s": rates, "peak_mib": peak, "losses": losses}, open(args.output, "w"))


if __name__ == "__main__":
    main()
