// Adapters on disk in PEFT's own layout: adapter_config.json + adapter_model.safetensors, readable by both.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "lora/adapter.h"

namespace elrea {

// Writes both files atomically; `base_model` is recorded as base_model_name_or_path, `metadata` beside ours in the
// tensor file.
void SaveAdapter(const std::filesystem::path& directory, const Adapter& adapter, const ModelConfig& model,
                 const std::string& base_model, const std::map<std::string, std::string>& metadata = {});

// A folder of one tensor file or of shards, or a GGUF LoRA file. Ranks and scales of single modules and subsets of
// modules and layers become those of an Adapter (adapter_assembly.h). kNotFound, kCorrupt (names file and tensor),
// kInvalidInput: what cannot be honoured (DoRA, trained biases, modules_to_save, ...) or shapes of another backbone.
Adapter LoadAdapter(const std::filesystem::path& directory, const ModelConfig& model);

// kInvalidInput when the adapter says that it was trained on a backbone of another fingerprint; `origin`: its path.
void RequireBackbone(const Adapter& adapter, const std::string& origin, const std::string& fingerprint,
                     const std::string& model);

// Calls visit(name in the adapter file, view) for every matrix of a flat [num_params] tensor, in the layout's order.
void ForEachAdapterMatrix(const AdapterLayout& layout, const torch::Tensor& flat,
                          const std::function<void(const std::string& name, const torch::Tensor& view)>& visit);

}  // namespace elrea
