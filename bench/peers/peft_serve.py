"""A server of the same ensemble as `elrea serve` has, by PEFT and FastAPI: what one would write first.

    python bench/peers/peft_serve.py --model HF_DIR --run RUN --port P [--weights W,W,...]

POST /v1/completions with {"prompt", "max_tokens"}: greedy decoding of the weighted sum of the logits of the base adapter and
the experts, one after the other in the adapter's own forward pass, each with its own cache; requests one by one. Routing is
left out (weights are given or equal), in the peer's favour.
"""

import argparse
import threading
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--weights", help="base first; default: all equal")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
    experts = sorted((arguments.run / "experts").iterdir(), key=lambda p: int(p.name))
    folders = [arguments.run / "base", *(e for e in experts if (e / "adapter_config.json").exists())]
    names = [f"a{i}" for i in range(len(folders))]
    model = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:]):
        model.load_adapter(folder, adapter_name=name)
    model.eval()
    weights = [float(w) for w in arguments.weights.split(",")] if arguments.weights else [1.0] * len(names)
    app, lock = FastAPI(), threading.Lock()

    @torch.inference_mode()
    def generate(prompt, count):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        caches, step, tokens = [None] * len(names), ids, []
        for _ in range(count):
            total = 0
            for i, name in enumerate(names):
                model.set_adapter(name)
                out = model(input_ids=step, past_key_values=caches[i], use_cache=True)
                caches[i] = out.past_key_values
                total = total + weights[i] * out.logits[0, -1].float()
            token = int(total.argmax())
            if token == tokenizer.eos_token_id:
                break
            tokens.append(token)
            step = torch.tensor([[token]])
        return tokenizer.decode(tokens), len(tokens)

    @app.post("/v1/completions")
    def completions(body: dict):
        with lock:
            text, count = generate(body["prompt"], int(body.get("max_tokens", 64)))
        return {"choices": [{"index": 0, "text": text}], "usage": {"completion_tokens": count}}

    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
