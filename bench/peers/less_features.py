#!/usr/bin/env python3
"""LESS's side of bench/features_bench.cc: gradient features as its get_info makes them, on the same instructions.

One example at a time: loss of the instruction, gradient of the LoRA parameters, Adam form. With --project the features
of the first --project-rows are then projected to that many numbers by TRAK's BasicProjector, LESS's own projector on a CPU
(null when the package `traker` is not there). Writes {"gradient_examples_per_s", "projection_examples_per_s"}.
"""
import argparse
import json
import statistics
import time

import torch
from common import load_model
from peft import LoraConfig, get_peft_model

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def gradient(model, params, ids, m, v):
    model(input_ids=ids, labels=ids).loss.backward()
    g = torch.cat([p.grad.view(-1).float() for p in params])
    for p in params:
        p.grad = None
    return (0.1 * g + 0.9 * m) / torch.sqrt(0.999 * v + 0.001 * g * g + 1e-8)


def projection_rate(gradients, size):
    try:
        from trak.projectors import BasicProjector, ProjectionType
    except ImportError:
        return None
    projector = BasicProjector(
        grad_dim=gradients.shape[1], proj_dim=size, seed=0, proj_type=ProjectionType.rademacher, device="cpu",
        block_size=128, dtype=torch.float32,
    )
    start = time.perf_counter()
    projector.project(gradients, model_id=0)
    return len(gradients) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--project", type=int, default=0)
    parser.add_argument("--project-rows", type=int, default=16)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [json.loads(line) for line in open(args.rows)]
    config = LoraConfig(r=args.rank, lora_alpha=4 * args.rank, lora_dropout=0.0, target_modules=PROJECTIONS)
    model = get_peft_model(load_model(args.model, getattr(torch, args.dtype)), config)
    params = [p for p in model.parameters() if p.requires_grad]
    num_params = sum(p.numel() for p in params)
    m, v = torch.zeros(num_params), torch.rand(num_params) * 1e-6
    times, gradients = [], []
    for row in rows[:1] + rows:  # the first is a warm-up
        ids = torch.tensor([row["tokens"][: row["num_prompt"]]])
        start = time.perf_counter()
        gradients.append(gradient(model, params, ids, m, v))
        times.append(time.perf_counter() - start)
    result = {"gradient_examples_per_s": 1 / statistics.mean(times[1:]), "projection_examples_per_s": None}
    if args.project > 0:
        result["projection_examples_per_s"] = projection_rate(torch.stack(gradients[1 : 1 + args.project_rows]), args.project)
    json.dump(result, open(args.output, "w"))


if __name__ == "__main__":
    main()
