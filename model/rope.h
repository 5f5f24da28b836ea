// Cosine and sine tables of the rotary embedding, grown on demand. Thread-safe.
#pragma once

#include <torch/types.h>

#include <mutex>

namespace elrea {

class RopeTable {
 public:
  // theta: base; positions are divided by `linear_scale` (1 = none).
  RopeTable(double theta, int64_t head_dim, double linear_scale, torch::Device device);

  // [at least num_positions, 2, head_dim / 2] f32: cos, sin of position * theta^(-2 i / head_dim). Computed in f32 as
  // the reference implementations do, so that long positions round alike.
  torch::Tensor Get(int64_t num_positions);

 private:
  std::mutex mutex_;
  torch::Tensor inverse_frequency_;  // [head_dim / 2] f32 cpu
  torch::Device device_;
  torch::Tensor table_;
};

}  // namespace elrea
