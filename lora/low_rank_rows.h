// The low-rank update of single rows, each under its own adapter, in one parallel loop: the decoding path of LoraMix.
#pragma once

#include <torch/types.h>

#include <vector>

#include "lora/lora_weights.h"

namespace elrea {

struct LowRankRow {
  const LoraWeights* lora;
  int64_t row;
};

// CPU, contiguous rows, widths that are multiples of 16.
bool CanAddLowRankRows(const torch::Tensor& x, const torch::Tensor& y);

// y[row] += scale B (A x[row]) for each entry. x [tokens, in] T, y [tokens, group out] T.
void AddLowRankRows(const std::vector<LowRankRow>& rows, int64_t layer, LinearGroup group, const torch::Tensor& x,
                    torch::Tensor& y);

}  // namespace elrea
