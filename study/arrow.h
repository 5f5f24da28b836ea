// Arrow routing (Ostapenko et al. 2024): the direction of an input that an expert changes most is its
// prototype.
#pragma once

#include <torch/types.h>

#include "lora/adapter.h"

namespace elrea {

// For a joined adapter (ConcatenateAdapters) of `parts` adapters of equal rank: in each projection the right
// singular vector of B_c A_c with the largest singular value, of unit length, as the rows of a Gate
// [Gate::NumParams] f32. Zero where B_c A_c is. `layout` and `params` are the joined adapter's.
torch::Tensor ArrowRows(const AdapterLayout& layout, const torch::Tensor& params, int64_t parts);

}  // namespace elrea
