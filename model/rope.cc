#include "model/rope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace elrea {

RopeTable::RopeTable(double theta, int64_t head_dim, double linear_scale, torch::Device device) : device_(device) {
  torch::Tensor exponent = torch::arange(0, head_dim, 2, torch::kLong).to(torch::kFloat) / static_cast<float>(head_dim);
  inverse_frequency_ = 1.0 / torch::pow(torch::full({}, theta, torch::kFloat), exponent);
  inverse_frequency_.div_(linear_scale);
}

torch::Tensor RopeTable::Get(int64_t num_positions) {
  std::lock_guard lock(mutex_);
  if (!table_.defined() || table_.size(0) < num_positions) {
    int64_t grown = std::max<int64_t>(num_positions, table_.defined() ? 2 * table_.size(0) : 512);
    torch::Tensor positions = torch::arange(grown, torch::kLong).to(torch::kFloat);
    torch::Tensor angle = positions.unsqueeze(1) * inverse_frequency_;  // [positions, head_dim / 2]
    table_ = torch::stack({angle.cos(), angle.sin()}, 1).contiguous().to(device_);
  }
  return table_;
}

}  // namespace elrea
