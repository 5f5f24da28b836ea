// Backbone weights from a GGUF file: dequantised, rope rows put back to half-split order, in the wanted
// dtype.
#pragma once

#include <filesystem>

#include "model/weights.h"

namespace elrea {

// As LoadModelWeights. The file is mapped while loading and released after.
ModelWeights LoadGgufWeights(const std::filesystem::path& path, torch::Dtype dtype);

}  // namespace elrea
