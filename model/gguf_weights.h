// Backbone weights from a GGUF file: dequantised, rope rows put back to half-split order, in the wanted
// dtype.
#pragma once

#include <filesystem>

#include "model/weights.h"

namespace elrea {

class CodesFile;

// As LoadModelWeights. The file is mapped while loading and released after, but for blocks that are kept: they stay where
// they lie, unless their rows have to be put in order, and the file is not to be changed in place while they live.
// codes: what holds the layers' matrices instead, or null.
ModelWeights LoadGgufWeights(const std::filesystem::path& path, torch::Dtype dtype, WeightStorage storage,
                             const CodesFile* codes);

// The file's row that becomes row `row`. Converters to GGUF store the rows of a q or k head of some families
// interleaved; head_dim 0: as is.
int64_t GgufSourceRow(int64_t row, int64_t head_dim);
// The same for all of `rows` rows in so many heads (0: as is), [rows] i64.
torch::Tensor GgufSourceRows(int64_t rows, int64_t heads);

}  // namespace elrea
