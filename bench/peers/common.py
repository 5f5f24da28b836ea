"""What the torch peers share."""
import os

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def places_of(path):
    """Arguments of from_pretrained for a Hugging Face directory or a GGUF file (needs the package `gguf`)."""
    if os.path.isdir(path):
        return (path,), {}
    folder, name = os.path.split(path)
    return (folder,), {"gguf_file": name}


def load_model(path, dtype):
    """With dense matrices: a GGUF file's packed codes, which transformers would keep, make the peer slower."""
    places, names = places_of(path)
    if names:
        names["quantization_config"] = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(*places, dtype=dtype, **names)


def load_tokenizer(path):
    places, names = places_of(path)
    return AutoTokenizer.from_pretrained(*places, **names)
