// Cosine and sine tables of the rotary embedding, grown on demand. Thread-safe.
#pragma once

#include <torch/types.h>

#include <mutex>

#include "model/config.h"

namespace elrea {

// [head_dim / 2] f32 cpu: what a position is multiplied with to give the angle of each pair. Computed in f32 in the
// order of the reference implementation (transformers' modeling_rope_utils), so that long positions round alike.
torch::Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& scaling);

class RopeTable {
 public:
  RopeTable(double theta, int64_t head_dim, const RopeScaling& scaling, torch::Device device);

  // [at least num_positions, 2, head_dim / 2] f32: cos, sin of position * frequency, times the attention factor.
  torch::Tensor Get(int64_t num_positions);

 private:
  std::mutex mutex_;
  torch::Tensor frequencies_;  // [head_dim / 2] f32 cpu
  double attention_factor_;
  torch::Device device_;
  torch::Tensor table_;
};

}  // namespace elrea
