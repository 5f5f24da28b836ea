// The low-rank products of a pass whose rows are under several adapters: one frozen product serves all rows, and each
// run of neighbours under one adapter has its own low-rank part. Shared by fine-tuning and per-example gradients.
//
//   h = x A^T,  y += s h B^T;      backward  dh = s dy B,  dx += dh A
#pragma once

#include <torch/types.h>

#include <vector>

#include "lora/lora_weights.h"

namespace elrea {

// Rows [begin, end) of a pass. All adapters of a pass have the layout of the first.
struct AdapterRun {
  const LoraWeights* lora;
  int64_t begin, end;
};
using AdapterRuns = std::vector<AdapterRun>;  // in order, not empty, covering all rows of the pass

// h [tokens, slots * rank] f32. x [tokens, in] T, y [tokens, group out] T.
torch::Tensor LowRankForward(const AdapterRuns& runs, int64_t layer, LinearGroup group, const torch::Tensor& x,
                             torch::Tensor& y);
// dh [tokens, slots * rank] f32 of all slots. grad_y [tokens, group out] T.
torch::Tensor LowRankGradient(const AdapterRuns& runs, int64_t layer, LinearGroup group, const torch::Tensor& grad_y);
// grad_x [tokens, in] T += dh A.
void AddLowRankInputGradient(const AdapterRuns& runs, int64_t layer, LinearGroup group, const torch::Tensor& grad_h,
                             torch::Tensor& grad_x);

}  // namespace elrea
