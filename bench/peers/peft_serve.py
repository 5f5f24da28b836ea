"""A server of the same ensemble as `elrea serve` has, by PEFT and FastAPI: what one would write first.

    python bench/peers/peft_serve.py --model HF_DIR --run RUN [--threads N] [--weights W,W,...]

Prints its address once it is ready. POST /v1/completions with {"prompt", "max_tokens"}: greedy decoding of the weighted sum of
the logits of the base adapter and the experts, all in one mixed batch (PEFT's adapter_names), bf16; requests one by one. Answers
do not end before max_tokens, so that both sides make the same number of tokens. Routing is left out (weights are given or
equal), in the peer's favour.
"""

import argparse
import socket
import threading
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from peft import PeftModel

from common import load_model, load_tokenizer


def adapters_of(run):
    experts = sorted((run / "experts").iterdir(), key=lambda p: (len(p.name), p.name))
    return [run / "base", *(e for e in experts if (e / "adapter_config.json").exists())]


def load(model_path, run):
    folders = adapters_of(run)
    names = [f"a{i}" for i in range(len(folders))]
    model = PeftModel.from_pretrained(load_model(model_path, torch.bfloat16), folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:]):
        model.load_adapter(folder, adapter_name=name)
    return model.eval(), names


@torch.inference_mode()
def generate(model, names, weights, ids, count):
    step, cache, tokens = ids.repeat(len(names), 1), None, []
    for _ in range(count):
        out = model(input_ids=step, past_key_values=cache, use_cache=True, adapter_names=names)
        cache = out.past_key_values
        tokens.append(int((weights[:, None] * out.logits[:, -1].float()).sum(0).argmax()))
        step = torch.tensor([[tokens[-1]]] * len(names))
    return tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", help="base first; default: all equal")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = load_tokenizer(arguments.model)
    model, names = load(arguments.model, arguments.run)
    weights = torch.tensor([float(w) for w in arguments.weights.split(",")] if arguments.weights else [1.0] * len(names))
    app, lock = FastAPI(), threading.Lock()

    @app.post("/v1/completions")
    def completions(body: dict):
        ids = tokenizer(body["prompt"], return_tensors="pt").input_ids
        with lock:
            tokens = generate(model, names, weights, ids, int(body.get("max_tokens", 64)))
        return {"choices": [{"index": 0, "text": tokenizer.decode(tokens)}], "usage": {"completion_tokens": len(tokens)}}

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
