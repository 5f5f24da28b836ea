"""Tiny tokenizers of every kind we read, trained on the spot, for tests that need no download.

The byte-level vocabulary is trained without cutting the text, so it has merges across word boundaries: any mistake of a
pre-tokeniser then shows in the ids. The SentencePiece vocabulary lacks most characters, so that bytes stand in for them.
"""
import io

import tokenizer_reference as reference
import tokenizer_strings as strings

CORPUS = strings.FIXED * 3 + [
    "The quick brown fox jumps over the lazy dog. It's 12 o'clock, they'll say; we've 3 apples and 45 pears.",
    "If x = 3 and y = 4, then x^2 + y^2 = 25, so the answer is \\boxed{5}.\n\nStep 1: add the numbers.\n  Step 2: stop.\n",
    "for i in range(10):\n    print(i, end=' ')\n\treturn the_answer  # done\n\n\nThe end of the story, and the others too.",
] * 8

GPT4O_LIKE_REGEX = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|[\s]+"
)


def special(content, id, **flags):
    return dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) | flags


def byte_level_base():
    """tokenizer.json of a byte-level BPE without pre-tokenisation; the last ids are special tokens."""
    import json

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=520, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return json.loads(tokenizer.to_str())


def sentencepiece_base():
    """tokenizer.json in Gemma's form: BPE over characters, U+2581 for spaces, byte fallback."""
    import json

    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=280, limit_alphabet=90, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += [piece for piece, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1])]
    model = models.BPE(vocab={piece: id for id, piece in enumerate(pieces)}, merges=[tuple(m) for m in learnt["merges"]],
                       unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    return json.loads(tokenizer.to_str())


def wordpiece_base():
    """tokenizer.json in BERT's form."""
    import json

    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, limit_alphabet=150, special_tokens=special,
                                                                    show_progress=False))
    return json.loads(tokenizer.to_str())


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def variants(bases):
    """name -> (base, what to change in it, as a JSON merge patch)."""
    digits = {"type": "Digits", "individual_digits": True}
    next_id = max(token["id"] for token in bases["byte_level"]["added_tokens"]) + 1
    flagged = bases["byte_level"]["added_tokens"] + [
        special("<both>", next_id, lstrip=True, rstrip=True), special("<left>", next_id + 1, lstrip=True),
        special("word", next_id + 2, single_word=True, special=False), special("ＮＯＲＭ", next_id + 3, normalized=True, special=False),
        special("<|im_end|>>", next_id + 4, special=False),
    ]
    prepend = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    stripped = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    return {
        "gpt2": ("byte_level", {"pre_tokenizer": byte_level(True)}),
        "gpt2_prefix": ("byte_level", {"pre_tokenizer": byte_level(True, prefix=True)}),
        "smollm": ("byte_level", {"pre_tokenizer": sequence(digits, byte_level(True))}),
        "llama3": ("byte_level", {"pre_tokenizer": sequence(split(reference.LLAMA3_REGEX), byte_level(False)),
                                  "model": {"ignore_merges": True}}),
        "qwen2": ("byte_level", {"pre_tokenizer": sequence(split(reference.QWEN2_REGEX), byte_level(False)),
                                 "normalizer": {"type": "NFC"}}),
        "other_regex": ("byte_level", {"pre_tokenizer": sequence(split(GPT4O_LIKE_REGEX), byte_level(False))}),
        "splits": ("byte_level", {"pre_tokenizer": sequence(
            split(" ", "MergedWithPrevious", kind="String"), split("a+", "MergedWithNext"), split("[.,]", "Contiguous"),
            split("[^x]+", "Isolated", invert=True), split("-", "Removed", kind="String"),
            {"type": "Digits", "individual_digits": False}, byte_level(False))}),
        "flags": ("byte_level", {"pre_tokenizer": byte_level(True), "added_tokens": flagged, "normalizer": {"type": "NFKC"}}),
        "gemma": ("sentencepiece", {"pre_tokenizer": split(" ", "MergedWithPrevious", kind="String")}),
        "llama2": ("sentencepiece", {"normalizer": prepend, "decoder": stripped}),
        "metaspace": ("sentencepiece", {"normalizer": None, "pre_tokenizer": metaspace, "decoder": stripped}),
        "unknowns": ("sentencepiece", {"model": {"byte_fallback": False}}),
        "bert": ("wordpiece", {}),
        "bert_cased": ("wordpiece", {"normalizer": {"lowercase": False, "handle_chinese_chars": False}, "decoder": {"cleanup": False}}),
        "words": ("wordpiece", {"pre_tokenizer": {"type": "Whitespace"}, "normalizer": {
            "type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "NFD"},
                                                {"type": "StripAccents"}, {"type": "Lowercase"}]}}),
        "punctuation": ("wordpiece", {"normalizer": {"type": "Nmt"}, "pre_tokenizer": sequence(
            {"type": "WhitespaceSplit"}, {"type": "CharDelimiterSplit", "delimiter": "x"},
            {"type": "Punctuation", "behavior": "Contiguous"})}),
        "unfused": ("sentencepiece", {"model": {"byte_fallback": False, "fuse_unk": False}}),
    }


def merge_patch(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def write_unigram_gguf(path, processor, charsmap):
    """A SentencePiece unigram model as a GGUF of the T5 family; its reference is the sentencepiece library."""
    ids = range(processor.get_piece_size())
    types = [2 if processor.is_unknown(id) else 3 if processor.is_control(id) else 1 for id in ids]
    write_gguf(path, "t5", "t5", [processor.id_to_piece(id) for id in ids], types,
               {"add_eos_token_id": processor.eos_id(), "add_unk_token_id": processor.unk_id(), "add_add_space_prefix": True,
                "add_remove_extra_whitespaces": True, "add_precompiled_charsmap": charsmap},
               scores=[processor.get_score(id) for id in ids])


def write_gguf(path, architecture, model, pieces, types, fields, scores=None, merges=None):
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model(model)
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for name, value in fields.items():
        getattr(writer, name)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_byte_level_gguf(path, base):
    """The byte-level base with the smollm pre-tokeniser, as a GGUF; its reference is the variant "smollm"."""
    pieces = dict(base["model"]["vocab"])
    control = {token["content"]: token["id"] for token in base["added_tokens"]}
    pieces.update(control)
    ordered = [piece for piece, _ in sorted(pieces.items(), key=lambda item: item[1])]
    write_gguf(path, "llama", "gpt2", ordered, [3 if piece in control else 1 for piece in ordered],
               {"add_tokenizer_pre": "smollm", "add_bos_token_id": control["<|im_start|>"],
                "add_eos_token_id": control["<|im_end|>"], "add_add_bos_token": False},
               merges=[" ".join(merge) for merge in base["model"]["merges"]])


def train_sentencepiece():
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.replace("\x00", "") for text in CORPUS * 2), model_writer=model, model_type="bpe",
        vocab_size=520, byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        allow_whitespace_only_pieces=True, minloglevel=2)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_sentencepiece_gguf(path, processor):
    """A SentencePiece model as a GGUF of the llama family; its reference is the sentencepiece library."""
    types = {"<unk>": 2, "<s>": 3, "</s>": 3}
    ids = range(processor.get_piece_size())
    pieces = [processor.id_to_piece(id) for id in ids]
    write_gguf(path, "llama", "llama", pieces,
               [6 if processor.is_byte(id) else types.get(piece, 1) for id, piece in zip(ids, pieces)],
               {"add_bos_token_id": 1, "add_eos_token_id": 2, "add_unk_token_id": 0, "add_add_space_prefix": True},
               scores=[processor.get_score(id) for id in ids])
