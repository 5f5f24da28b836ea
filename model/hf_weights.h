// Backbone weights from a Hugging Face directory: config.json with model.safetensors, or with shards listed
// in model.safetensors.index.json.
#pragma once

#include <filesystem>

#include "model/weights.h"

namespace elrea {

class CodesFile;

// As LoadModelWeights. The files are mapped. Matrices that are stored in `dtype` stay where they lie, so the tensors are
// not to be written to, and the files are not to be changed in place while they live; what is converted leaves the memory
// tensor by tensor. codes: what holds the layers' matrices instead, or null.
ModelWeights LoadHuggingFaceWeights(const std::filesystem::path& directory, torch::Dtype dtype,
                                    WeightStorage storage, const CodesFile* codes);

// kInvalidInput when bitsandbytes has quantised the checkpoint already, so that its codes cannot be chosen anew. Reads
// the headers only.
void RefuseQuantisedCheckpoint(const std::filesystem::path& directory);

}  // namespace elrea
