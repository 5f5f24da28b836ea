// Backbone weights from a Hugging Face directory: config.json with model.safetensors, or with shards listed
// in model.safetensors.index.json.
#pragma once

#include <filesystem>

#include "model/weights.h"

namespace elrea {

// As LoadModelWeights. The files are mapped while loading and released after.
ModelWeights LoadHuggingFaceWeights(const std::filesystem::path& directory, torch::Dtype dtype,
                                    WeightStorage storage);

}  // namespace elrea
