"""Greedy continuations of `elrea generate` against transformers, f32, prompt by prompt.

    python tools/oracle/greedy_compare.py --model HF_DIR --elrea-model smollm2 --prompts F.jsonl [--count 50] [--tokens 64]

F has {"question"} or {"prompt"} rows. Where texts part, the gap between the two best logits is shown: a tiny gap is a
near-tie that rounding decides. Exit status 1 when fewer than 96% are equal or a difference is not a near-tie.
"""

import argparse
import json
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def elrea_tokens(arguments, prompts):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.writelines(json.dumps({"prompt": p}) + "\n" for p in prompts)
        f.flush()
        command = [arguments.elrea, "generate", "--model", arguments.elrea_model, "--dtype", "f32", "--raw", "--input", f.name,
                   "--json", "--set", f"generation.max_new_tokens={arguments.tokens}"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["tokens"] for line in out.splitlines()]


@torch.inference_mode()
def reference(model, ids, count):
    """Greedy tokens, and at each step the gap between the two best logits."""
    tokens, gaps, past, step = [], [], None, torch.tensor([ids])
    for _ in range(count):
        out = model(input_ids=step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        best = out.logits[0, -1].topk(2)
        tokens.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        step = torch.tensor([[tokens[-1]]])
    return tokens, gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--elrea-model", default="smollm2")
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--bos", action="store_true", help="the model wants a BOS token (Gemma)")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in open(arguments.prompts)][: arguments.count]
    prompts = [r.get("prompt", r.get("question")) for r in rows]
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    equal, tied = 0, 0
    for prompt, ours in zip(prompts, elrea_tokens(arguments, prompts)):
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if arguments.bos:
            ids = [tokenizer.bos_token_id] + ids
        theirs, gaps = reference(model, ids, len(ours))
        if ours == theirs:
            equal += 1
            continue
        first = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
        tied += gaps[first] < 1e-3
        print(f"parts at token {first}, gap of the best two logits {gaps[first]:.2e}: {prompt[:60]!r}")
    print(f"{equal} of {len(prompts)} continuations equal, {tied} of the others part at a near-tie")
    sys.exit(0 if equal >= 0.96 * len(prompts) and equal + tied == len(prompts) else 1)


if __name__ == "__main__":
    main()
