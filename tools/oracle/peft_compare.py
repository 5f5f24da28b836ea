"""Replays an elrea run with transformers + PEFT + torch.optim.AdamW and compares.

    elrea run --config F --out RUN        (model.dtype f32, finetune.dropout 0)
    elrea features --run RUN --raw-gradients G.safetensors --limit 64
    python tools/oracle/peft_compare.py --run RUN --model HF_DIR [--steps 30] [--gradients G.safetensors]

1. training: PEFT starts from RUN/base/checkpoint-0 (so it must load our file), takes the rows of each step from
   metrics.jsonl, and its losses and final adapter must agree (1e-3 relative).
2. gradients: per row, batch size 1, autograd, of the mean loss of the instruction tokens at the final adapter
   (cosine >= 0.9999, norms within 0.1%).
3. logits: PEFT with RUN/base and with each expert against `elrea score` of the same tokens.
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
from transformers import AutoModelForCausalLM, AutoTokenizer

# Per chat template: beginning of a text, a turn, the beginning of the answer, the end of a turn. Single-turn prompts only.
TEMPLATES = {
    "chatml": ("", "<|im_start|>{role}\n{content}<|im_end|>\n", "<|im_start|>assistant\n", "<|im_end|>"),
    "gemma": ("<bos>", "<start_of_turn>{role}\n{content}<end_of_turn>\n", "<start_of_turn>model\n", "<end_of_turn>"),
}


def rows_of(path, tokenizer, template):
    """(prompt ids, response ids) of every training row of a run."""
    begin, turn, answer, end = TEMPLATES[template]
    rows = []
    for line in path.open():
        messages = json.loads(line)["messages"]
        prompt = begin + "".join(turn.format(**m) for m in messages[:-1]) + answer
        encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
        rows.append((encode(prompt), encode(messages[-1]["content"] + end)))
    return rows


def pad(rows):
    width = max(len(p) + len(r) for p, r in rows)
    fill = lambda ids, value: ids + [value] * (width - len(ids))
    return {
        "input_ids": torch.tensor([fill(p + r, 0) for p, r in rows]),
        "attention_mask": torch.tensor([fill([1] * (len(p) + len(r)), 0) for p, r in rows]),
        "labels": torch.tensor([fill([-100] * len(p) + r, -100) for p, r in rows]),
    }


def adapter_tensors(model):
    return {n.replace(".default", ""): p for n, p in model.named_parameters() if "lora_" in n}


def compare_training(model, rows, run, steps):
    metrics = [json.loads(line) for line in (run / "base/metrics.jsonl").open()]
    metrics = [m for m in metrics if "rows" in m]
    assert len(metrics) >= steps, f"the run has {len(metrics)} steps; {steps} are asked for"
    params = adapter_tensors(model)
    optimizer = torch.optim.AdamW(params.values(), lr=1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    worst = 0.0
    for m in metrics:
        for group in optimizer.param_groups:
            group["lr"] = m["lr"]
        loss = model(**pad([rows[i] for i in m["rows"]])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        worst = max(worst, abs(loss.item() - m["loss"]) / loss.item())
    ours = load_file(run / "base/adapter_model.safetensors")
    difference = sum(float((params[n] - ours[n]).square().sum()) for n in ours) ** 0.5
    norm = sum(float(params[n].square().sum()) for n in ours) ** 0.5
    print(f"training: {len(metrics)} steps, largest relative loss difference {worst:.2e}, "
          f"adapter relative difference {difference / norm:.2e}")
    return worst <= 1e-3 and difference / norm <= 1e-3


def compare_gradients(model, rows, run, path):
    gradients = load_file(path)
    params = adapter_tensors(model)
    count = 1 + max(int(n[3:n.index(".")]) for n in gradients)
    worst_cosine, worst_norm = 1.0, 0.0
    for row in range(count):
        ids = torch.tensor([rows[row][0]])
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        theirs = torch.cat([p.grad.double().flatten() for p in params.values()])
        ours = torch.cat([gradients[f"row{row}.{n}"].double().flatten() for n in params])
        worst_cosine = min(worst_cosine, float(theirs @ ours / (theirs.norm() * ours.norm())))
        worst_norm = max(worst_norm, abs(float(ours.norm() / theirs.norm()) - 1))
    print(f"gradients: {count} rows, smallest cosine {worst_cosine:.7f}, largest norm difference {worst_norm:.2e}")
    return worst_cosine >= 0.9999 and worst_norm <= 1e-3


def elrea_scores(elrea, model, adapter, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.writelines(json.dumps({"text": t}) + "\n" for t in texts)
        f.flush()
        command = [elrea, "score", "--model", model, "--adapter", str(adapter), "--dtype", "f32", "--input", f.name, "--json"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def compare_scores(elrea, gguf, hf, run, texts):
    ok = True
    folders = [run / "base"] + sorted((run / "experts").glob("*"))
    for folder in folders:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32), folder).eval()
        worst, count = 0.0, 0
        for answer in elrea_scores(elrea, gguf, folder, texts):
            ids = torch.tensor([answer["tokens"]])
            with torch.inference_mode():
                log_probs = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
            theirs = log_probs[:-1].gather(1, ids[0, 1:, None])[:, 0]
            ours = torch.tensor(answer["logprobs"][1:], dtype=torch.double)
            worst, count = max(worst, float((ours - theirs).abs().max())), count + len(ours)
        print(f"scores: {folder.relative_to(run)}: {count} positions, largest log-probability difference {worst:.2e}")
        ok &= worst <= 2e-3
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--model", required=True, help="Hugging Face directory of the same backbone")
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--elrea-model", default="smollm2", help="the backbone as elrea names it")
    parser.add_argument("--template", choices=TEMPLATES, default="chatml", help="data.chat_template of the run")
    parser.add_argument("--steps", type=int, default=30, help="steps that the base run must have had; all are replayed")
    parser.add_argument("--gradients", help="file of elrea features --raw-gradients")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    rows = rows_of(arguments.run / "data/train.jsonl", tokenizer, arguments.template)
    backbone = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    start = PeftModel.from_pretrained(backbone, arguments.run / "base/checkpoint-0", is_trainable=True)
    ok = compare_training(start, rows, arguments.run, arguments.steps)
    if arguments.gradients:
        ok &= compare_gradients(start, rows, arguments.run, arguments.gradients)
    texts = [tokenizer.decode(p + r) for p, r in rows[:16]]
    ok &= compare_scores(arguments.elrea, arguments.elrea_model, arguments.model, arguments.run, texts)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
