"""Compares all logits of `elrea score --logits` with transformers, or a run's mixed logits with PEFT's sum.

    python tools/oracle/logits_compare.py --elrea-model smollm2 --model HF_DIR --input texts.jsonl [--bos]
    python tools/oracle/logits_compare.py --run RUN --model HF_DIR --input texts.jsonl

Both in f32. With --run the mixture is sum_c w_c * logits_c over the base adapter and the experts, each loaded in PEFT
and run alone, with the weights that elrea reports for the text. Bounds: max abs difference 2e-3, the largest logit at
the same place in >= 99.9% of the positions (ties aside: where the two largest differ by less than the bound).
Exit status 1 when a bound is broken.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

BOUND = 2e-3


def elrea_logits(arguments, folder):
    """Per text: (tokens, logits [tokens, vocab], weights or None)."""
    who = ["--run", arguments.run, "--method", "ensemble", "--set", "model.dtype=f32"] if arguments.run else \
        ["--model", arguments.elrea_model, "--dtype", "f32"]
    command = [arguments.elrea, "score", *who, "--input", arguments.input, "--json", "--logits", folder]
    out = subprocess.run(command + ["--bos"] * arguments.bos, check=True, capture_output=True, text=True).stdout
    for number, line in enumerate(out.splitlines(), 1):
        file = pathlib.Path(folder) / f"text{number}.safetensors"
        if not file.exists():
            continue  # a text of one token
        tensors = load_file(file)
        file.unlink()
        yield tensors["tokens"], tensors["logits"], json.loads(line).get("weights")


class Reference:
    def __init__(self, arguments):
        self.model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
        self.adapters = []
        if arguments.run:
            run = pathlib.Path(arguments.run)
            self.adapters = [run / "base"] + sorted((run / "experts").glob("*"), key=lambda p: int(p.name))
            self.model = PeftModel.from_pretrained(self.model, self.adapters[0], adapter_name="0").eval()
            for number, folder in enumerate(self.adapters[1:], 1):
                self.model.load_adapter(folder, adapter_name=str(number))

    @torch.inference_mode()
    def logits(self, tokens, weights):
        if weights is None:
            return self.model(input_ids=tokens[None]).logits[0]
        weights = torch.tensor([weights["base"]] + weights["experts"], dtype=torch.double)
        assert len(weights) == len(self.adapters), "one weight per adapter"
        mixed = 0
        for number, weight in enumerate(weights / weights.sum()):
            if weight > 0:
                self.model.set_adapter(str(number))
                mixed = mixed + float(weight) * self.model(input_ids=tokens[None]).logits[0].double()
        return mixed.float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--elrea-model", help="the backbone as elrea names it")
    who.add_argument("--run", help="a finished run's folder")
    parser.add_argument("--model", required=True, help="Hugging Face directory of the same backbone")
    parser.add_argument("--input", required=True, help='JSONL with lines {"text": ...}')
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--bos", action="store_true")
    arguments = parser.parse_args()
    reference = Reference(arguments)
    worst, positions, equal, ties, texts = 0.0, 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for tokens, ours, weights in elrea_logits(arguments, folder):
            theirs = reference.logits(tokens, weights)
            worst = max(worst, float((ours - theirs).abs().max()))
            best = theirs.topk(2).values
            same = ours.argmax(-1) == theirs.argmax(-1)
            ties += int((~same & (best[:, 0] - best[:, 1] < BOUND)).sum())
            equal += int(same.sum())
            positions += len(tokens)
            texts += 1
    wrong = positions - equal - ties
    print(f"{texts} texts, {positions} positions: max abs difference {worst:.2e}, "
          f"top-1 equal in {equal}, ties {ties}, otherwise different {wrong}")
    sys.exit(0 if positions and worst <= BOUND and wrong <= 0.001 * positions else 1)


if __name__ == "__main__":
    main()
