// Inverted dropout whose mask is a pure function of (key, row, column): the backward pass makes it again instead of
// storing it, and a resumed run draws the same masks.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace elrea {

struct DropoutMask {
  double probability = 0;  // of dropping, in [0, 1)
  uint64_t key = 0;
};

// x with dropped elements zero and the rest scaled by 1 / (1 - p). x [rows, width] T contiguous cpu or cuda.
torch::Tensor ApplyDropout(const torch::Tensor& x, const DropoutMask& mask);

}  // namespace elrea
