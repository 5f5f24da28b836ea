// Adapters on disk in PEFT's own layout: adapter_config.json + adapter_model.safetensors, readable by both.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "lora/adapter.h"

namespace elrea {

// Writes both files atomically; `base_model` is recorded as base_model_name_or_path.
void SaveAdapter(const std::filesystem::path& directory, const Adapter& adapter, const ModelConfig& model,
                 const std::string& base_model);

// kNotFound, kCorrupt (names file and tensor), kInvalidInput: features this cannot honour (DoRA, rank or alpha
// patterns, trained biases, modules_to_save, layer subsets) or shapes of another backbone. rsLoRA is honoured.
Adapter LoadAdapter(const std::filesystem::path& directory, const ModelConfig& model);

// Calls visit(name in the adapter file, view) for every matrix of a flat [num_params] tensor, in the layout's order.
void ForEachAdapterMatrix(const AdapterLayout& layout, const torch::Tensor& flat,
                          const std::function<void(const std::string& name, const torch::Tensor& view)>& visit);

}  // namespace elrea
