// An Adapter out of updates of single modules, as files hold them: with ranks and scales of their own, and not
// in every layer. What an Adapter has beyond them is zero: a smaller rank gets rows and columns of zeros, a
// module that a layer does not have all zeros, and another scale is multiplied into B.
#pragma once

#include <torch/types.h>

#include <vector>

#include "lora/adapter.h"

namespace elrea {

struct ModuleUpdate {
  int64_t layer;
  Projection projection;
  torch::Tensor a;  // [rank, in] f32
  torch::Tensor b;  // [out, rank] f32
  double alpha;     // the update is alpha / rank B A
};

// REQUIRES: at least one update, shapes of the backbone's projections, no module twice.
Adapter AssembleAdapter(const std::vector<ModuleUpdate>& updates, const ModelConfig& model);

}  // namespace elrea
