"""What the torch peers share."""
import os

from transformers import AutoModelForCausalLM, AutoTokenizer


def source_of(path):
    """Arguments of from_pretrained for a Hugging Face directory or a GGUF file (needs the package `gguf`).
    SMOLLM2_HF names a directory with the same weights that is used instead: recent versions of transformers keep a GGUF
    file's weights packed, which makes the peer slower than its dense self."""
    directory = os.environ.get("SMOLLM2_HF")
    if directory or os.path.isdir(path):
        return (directory or path,), {}
    folder, name = os.path.split(path)
    return (folder,), {"gguf_file": name}


def load_model(path, dtype):
    places, names = source_of(path)
    return AutoModelForCausalLM.from_pretrained(*places, dtype=dtype, **names)


def load_tokenizer(path):
    places, names = source_of(path)
    return AutoTokenizer.from_pretrained(*places, **names)
