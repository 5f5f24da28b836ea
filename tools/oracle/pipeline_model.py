#!/usr/bin/env python3
"""Makes the complete tiny model that the tests of the whole pipeline run on, as a Hugging Face directory.

    pipeline_model.py tests/golden/pipeline_model

writes config.json, model.safetensors (Llama, random, bf16), tokenizer.json (byte-level BPE of 256 bytes and a few
merges) and tokenizer_config.json with a ChatML template. Widths are multiples of 16, so that the fast decoding paths
are taken. golden.json holds what transformers makes of it in f32:

    "score"      [{"text", "tokens", "logprobs": [null, ...]}, ...]
    "generate"   [{"prompt", "tokens"}, ...]: greedy, 12 new tokens after the chat prompt

Equal bytes on every call.
"""
import json
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = ["user assistant the sum of 12 and 7 is 19", "Sort: cat, dog", "Reverse: one, two", "the the the and and"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def write_tokenizer(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=288, special_tokens=[AddedToken(t, special=True, normalized=False) for t in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {"tokenizer_class": "GPT2TokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
                "add_bos_token": False, "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return tokenizer


def write_model(folder, vocab):
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(1 + 0.1 * values if parameter.dim() == 1 else values / parameter.shape[-1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    # Loaded again: to(bfloat16) above also rounded the rotary frequencies.
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def write_golden(folder, tokenizer, model):
    golden = {"score": [], "generate": []}
    for text in ["the sum of 12 and 7", "h\u00e9llo \u4f60\u597d \U0001f600!", "a", "<|im_start|>user\nhi<|im_end|>"]:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        log_probs = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        values = [None] + [round(log_probs[i, token].item(), 6) for i, token in enumerate(tokens[1:])]
        golden["score"].append({"text": text, "tokens": tokens, "logprobs": values})
    for prompt in ["Sort: cat, dog", "What is 12 + 7?"]:
        ids = tokenizer.encode(f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n").ids
        tokens = []
        while len(tokens) < 12:
            tokens.append(model(torch.tensor([ids + tokens])).logits[0, -1].argmax().item())
            if tokens[-1] in (0, 2):  # <|endoftext|>, <|im_end|>
                tokens.pop()
                break
        golden["generate"].append({"prompt": prompt, "tokens": tokens})
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder)
    model = write_model(folder, tokenizer.get_vocab_size())
    write_golden(folder, tokenizer, model)
    print(sum(path.stat().st_size for path in folder.iterdir()), "bytes,", tokenizer.get_vocab_size(), "tokens")


if __name__ == "__main__":
    main()
