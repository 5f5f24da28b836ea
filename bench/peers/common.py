"""What the torch peers share."""
import os

from transformers import AutoModelForCausalLM


def load_model(path, dtype):
    """A Hugging Face directory, or a GGUF file (dequantised; needs the package `gguf`). SMOLLM2_HF names a directory
    with the same weights that is used instead."""
    directory = os.environ.get("SMOLLM2_HF")
    if directory or os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(directory or path, dtype=dtype)
    folder, name = os.path.split(path)
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype)
