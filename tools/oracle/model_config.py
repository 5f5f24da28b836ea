#!/usr/bin/env python3
"""Writes the configuration that transformers reads from a GGUF file: model_config.py M.gguf tests/golden/OUT.json

tests/golden/model_config_smollm2.json and model_config_gemma3.json were made so from the two packaged models.
"""
import json
import os
import sys

from transformers import AutoConfig


def main():
    folder, name = os.path.split(os.path.abspath(sys.argv[1]))
    config = AutoConfig.from_pretrained(folder, gguf_file=name).to_dict()
    config.pop("_name_or_path", None)  # this machine's path
    with open(sys.argv[2], "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
