"""Tiny tokenizers of the kinds that tokenizer_tiny.py has not: unigram models, SentencePiece's own files, and every
normaliser, pre-tokeniser, decoder and post-processor of the `tokenizers` library, for tests that need no download."""
import contextlib
import json
import pathlib
import tempfile

import tokenizer_tiny as tiny
import tokenizer_trained as trained

# A small table in the place of nmt_nfkc's, which has 240 KB.
RULES = [("A", "a"), ("B", "b"), ("\uff21", "A"), ("e\u0301", "\u00e9"), ("\u3000", " "), ("\u00a0", " "), ("\t", " "), ("\n", " "),
         ("\r\n", " "), ("\ufb01", "fi"), ("\u2460", "1"), ("\u200b", ""), ("\u00bd", "1/2"), ("''", '"'), ("\U0001f642", ":)"),
         ("\u0915\u093c", "\u0958"), ("\u00e9\u0302", "E")]


def write_rules(path):
    codes = [[" ".join(f"{ord(c):X}" for c in side) for side in rule] for rule in RULES]
    path.write_text("".join(f"{source}\t{target}\n" for source, target in codes))


def piece_model(**options):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the model keeps the file's name
        if options.pop("rules", False):
            write_rules(pathlib.Path("rules.tsv"))
            options["normalization_rule_tsv"] = "rules.tsv"
        corpus = [text[:300] for text in tiny.CORPUS]
        return trained.spm(corpus * 2, vocab_size=options.pop("vocab_size", 400), **({"character_coverage": 0.98} | options))


def piece_models():
    symbols = ["<sep>", "\u2014", "lazy dog", "\u2581x"]
    return {
        "bpe": piece_model(model_type="bpe", rules=True, user_defined_symbols=symbols),
        "bpe_bytes": piece_model(model_type="bpe", byte_fallback=True, vocab_size=560, normalization_rule_name="identity",
                                 remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
        "unigram": piece_model(model_type="unigram", rules=True, unk_surface="?!"),
        "unigram_bytes": piece_model(model_type="unigram", byte_fallback=True, vocab_size=560, normalization_rule_name="identity",
                                     add_dummy_prefix=False, user_defined_symbols=symbols),
        "suffix": piece_model(model_type="unigram", treat_whitespace_as_suffix=True, rules=True),
    }


def unigram_base(byte_fallback):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(tiny.CORPUS, trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"],
                                                                      unk_token="<unk>", show_progress=False))
    root = json.loads(tokenizer.to_str())
    root["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in root["model"]["vocab"] if len(piece) < 20]
    if byte_fallback:
        root["model"]["vocab"] += [[piece, -9.5] for piece in trained.byte_tokens()]
        root["model"]["byte_fallback"] = True
        root["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                                                            {"type": "ByteFallback"}, {"type": "Fuse"},
                                                            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return root


def affix_base(**affixes):
    """BPE over characters whose pieces tell where in a word they stand."""
    from tokenizers import pre_tokenizers

    made = trained.bpe(tiny.CORPUS, pre_tokenizer=pre_tokenizers.Whitespace(), alphabet=False, special=("<unk>",), unk_token="<unk>",
                       trainer=affixes | {"limit_alphabet": 80}, **affixes)
    root = json.loads(made.to_str())
    return shorten(root, 700)


def shorten(root, size):
    """The same with the first `size` pieces and the merges among them."""
    vocab = {piece: id for piece, id in root["model"]["vocab"].items() if id < size}
    prefix = len(root["model"]["continuing_subword_prefix"] or "")
    root["model"]["vocab"] = vocab
    root["model"]["merges"] = [[left, right] for left, right in root["model"]["merges"]
                               if left in vocab and right in vocab and left + right[prefix:] in vocab]
    return root


def bases():
    return {"unigram": unigram_base(False), "unigram_bytes": unigram_base(True), "byte_level": tiny.byte_level_base(),
            "wordpiece": tiny.wordpiece_base(), "suffix": affix_base(end_of_word_suffix="</w>"),
            "prefix": affix_base(continuing_subword_prefix="##")}


def variants(charsmap):
    """name -> (base, what to change in it, as a JSON merge patch); `charsmap`: base64."""
    def sequence(key, *parts):
        return {"type": "Sequence", key: list(parts)}

    def pre(*parts):
        return {"pre_tokenizer": sequence("pretokenizers", *parts)}

    def replace(kind, pattern, content):
        return {"type": "Replace", "pattern": {kind: pattern}, "content": content}

    def punctuation(behavior):
        return pre({"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": behavior})

    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    level = tiny.byte_level(True)
    cls, sep = ["[CLS]", 2], ["[SEP]", 3]
    template = {"type": "TemplateProcessing", "pair": [], "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                                                                    {"Sequence": {"id": "A", "type_id": 0}},
                                                                    {"SpecialToken": {"id": "two", "type_id": 0}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                   "two": {"id": "two", "ids": [3, 4], "tokens": ["[SEP]", "[MASK]"]}}}
    around = {"sep": sep, "cls": cls, "trim_offsets": True, "add_prefix_space": False}
    return {
        "unigram": ("unigram", {}),
        "unigram_first": ("unigram", {"pre_tokenizer": metaspace | {"prepend_scheme": "first", "split": False},
                                      "decoder": metaspace | {"prepend_scheme": "never"}}),
        "unigram_never": ("unigram", {"pre_tokenizer": metaspace | {"prepend_scheme": "never"}, "normalizer": precompiled}),
        "unigram_bytes": ("unigram_bytes", {}),
        "t5": ("unigram", {"normalizer": sequence("normalizers", precompiled, {"type": "Strip", "strip_left": False, "strip_right": True},
                                                  replace("Regex", " {2,}", "\u2581"))}),
        "albert": ("unigram", {"normalizer": sequence("normalizers", replace("String", "``", '"'), {"type": "NFKD"}, {"type": "StripAccents"},
                                                      {"type": "Lowercase"}, precompiled),
                               **pre({"type": "WhitespaceSplit"}, metaspace)}),
        "suffix": ("suffix", {"decoder": {"type": "BPEDecoder", "suffix": "</w>"}}),
        "prefix": ("prefix", {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}),
        "prefix_whole": ("prefix", {"pre_tokenizer": None, "model": {"ignore_merges": True, "fuse_unk": True}}),
        "falcon": ("byte_level", pre({"type": "Punctuation", "behavior": "Contiguous"}, level, {"type": "Digits", "individual_digits": False},
                                     tiny.split("[0-9][0-9][0-9]"))),
        "prefix_space": ("byte_level", pre({"type": "WhitespaceSplit"}, tiny.byte_level(False, prefix=True))),
        "byte_normalizer": ("byte_level", {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "<"}, {"type": "ByteLevel"}),
                                           "pre_tokenizer": tiny.split("[^\\h]", "MergedWithPrevious")}),
        "classes": ("byte_level", pre(tiny.split(" ?[^(\\s|[.,!?\u3002])]+", "Removed", invert=True), tiny.byte_level(False))),
        "scripts": ("wordpiece", {"pre_tokenizer": {"type": "UnicodeScripts"}, "decoder": {
            "type": "CTC", "pad_token": "##", "word_delimiter_token": "e", "cleanup": True}}),
        "fixed": ("wordpiece", {"pre_tokenizer": {"type": "FixedLength", "length": 3}, "decoder": sequence(
            "decoders", replace("Regex", "^#+", "~"), {"type": "Fuse"}, {"type": "Strip", "content": "~", "start": 2, "stop": 0})}),
        "punctuation_removed": ("wordpiece", punctuation("Removed") | {"decoder": None}),
        "punctuation_previous": ("wordpiece", punctuation("MergedWithPrevious") | {"post_processor": {"type": "BertProcessing", "sep": sep, "cls": cls}}),
        "punctuation_next": ("wordpiece", punctuation("MergedWithNext") | {"post_processor": {"type": "RobertaProcessing", **around}}),
        "template": ("wordpiece", {"post_processor": {"type": "Sequence", "processors": [level, template]}}),
    }
