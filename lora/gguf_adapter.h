// Adapters as llama.cpp's GGUF LoRA files: per module NAME.weight.lora_a [rank, in] and .lora_b [out, rank], one alpha,
// rows of q and k in the order of the model's own GGUF file. Source: llama.cpp's convert_lora_to_gguf and its loader.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "lora/adapter.h"

namespace elrea {

// Atomic, f32. `metadata`: strings beside what the format asks for. kInvalidInput for a family without a GGUF form.
void SaveGgufAdapter(const std::filesystem::path& path, const Adapter& adapter, const ModelConfig& model,
                     const std::map<std::string, std::string>& metadata);

// kNotFound, kCorrupt, kInvalidInput: no adapter, one of another backbone or kind.
Adapter LoadGgufAdapter(const std::filesystem::path& path, const ModelConfig& model);

}  // namespace elrea
