#!/usr/bin/env python3
"""Writes tests/golden/encoder_tiny: a tiny random BERT sentence encoder and its vectors by sentence-transformers.

    python tools/oracle/encoder_golden.py [--out tests/golden/encoder_tiny]

The folder holds the encoder as the library saves it, and golden.json with the sentences and their vectors. Its WordPiece
vocabulary is trained here, too.
"""
import argparse
import json
import pathlib
import shutil
import tempfile

import torch
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as token_models
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import tokenizer_strings as strings

KEPT = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json",
        "sentence_bert_config.json", "1_Pooling/config.json"]


def train_tokenizer():
    tokenizer = Tokenizer(token_models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                        limit_alphabet=120, show_progress=False)
    tokenizer.train_from_iterator(strings.FIXED * 3 + strings.synthetic(200), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def build(folder):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_tokenizer(), unk_token="[UNK]", pad_token="[PAD]",
                                        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    torch.manual_seed(11)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=24, max_position_embeddings=40, hidden_act="gelu", initializer_range=0.5)
    model = BertModel(config, add_pooling_layer=False)
    for parameter in model.parameters():  # biases and norms too, so that none can be forgotten
        parameter.data += 0.1 * torch.randn_like(parameter)
    with tempfile.TemporaryDirectory() as plain:
        model.save_pretrained(plain)
        tokenizer.save_pretrained(plain)
        transformer = models.Transformer(plain, max_seq_length=32)
        encoder = SentenceTransformer(modules=[transformer, models.Pooling(16, pooling_mode="mean"), models.Normalize()],
                                      device="cpu")
        encoder.save(str(folder), create_model_card=False)
    return encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "tests/golden/encoder_tiny")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as saved:
        encoder = build(saved)
        for name in KEPT:
            (out / name).parent.mkdir(exist_ok=True)
            if (pathlib.Path(saved) / name).exists():
                shutil.copy(pathlib.Path(saved) / name, out / name)
            else:
                print("not written by this version of the library:", name)
    sentences = [text for text in strings.FIXED if len(text) < 80][:60] + ["the quick brown fox jumps over the dog " * 20]
    vectors = encoder.encode(sentences, batch_size=1, normalize_embeddings=False)
    golden = [{"text": text, "embedding": [round(float(x), 7) for x in row]} for text, row in zip(sentences, vectors)]
    (out / "golden.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in golden) + "\n]\n")
    print(out, sum(file.stat().st_size for file in out.rglob("*") if file.is_file()), "bytes")


if __name__ == "__main__":
    main()
