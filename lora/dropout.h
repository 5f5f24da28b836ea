// Inverted dropout whose mask is a pure function of (key, place, column): the backward pass makes it again instead of
// storing it, and neither resuming nor the way a step is cut into passes changes it.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace elrea {

struct DropoutMask {
  double probability = 0;  // of dropping, in [0, 1)
  uint64_t key = 0;
};

// Rows [begin, end) of a pass draw the masks of the places first_place, first_place + 1, ...
struct DropoutRows {
  DropoutMask mask;
  int64_t begin = 0, end = 0, first_place = 0;
};

// Of these rows alone: out = x with dropped elements zero and the rest scaled by 1 / (1 - p). x, out [rows, width] T
// contiguous, the same on every device; out may be x.
void ApplyDropout(const torch::Tensor& x, const DropoutRows& rows, torch::Tensor& out);
// out += the same.
void AddDropped(const torch::Tensor& x, const DropoutRows& rows, torch::Tensor& out);

}  // namespace elrea
