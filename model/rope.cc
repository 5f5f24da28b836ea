// Scaled frequencies, with f = theta^(-2 i / head_dim), n = original_context, w = 2 pi / f the wavelength:
//
//   llama3   f where w < n / high_freq_factor, f / factor where w > n / low_freq_factor, between the two
//            (1 - s) f / factor + s f,  s = (n / w - low_freq_factor) / (high_freq_factor - low_freq_factor)
//   yarn     (1 - r_i) f + r_i f / factor, r a ramp from 0 to 1 between the dimensions that turn beta_fast and
//            beta_slow times over n positions (Peng et al. 2023, section 3.2)
#include "model/rope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace elrea {

using torch::Tensor;

namespace {

Tensor Llama3(const Tensor& f, const RopeScaling& s) {
  const auto n = static_cast<double>(s.original_context);
  const Tensor wavelength = 2 * std::numbers::pi / f;
  const Tensor is_low = wavelength > n / s.low_freq_factor, is_high = wavelength < n / s.high_freq_factor;
  const Tensor scaled = torch::where(is_low, f / s.factor, f);
  const Tensor smooth = (n / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  const Tensor between = (1 - smooth) * scaled / s.factor + smooth * scaled;
  return torch::where(is_low.logical_or(is_high), scaled, between);
}

// The (fractional) pair that turns `turns` times over the original context.
double PairThatTurns(double turns, double theta, int64_t head_dim, const RopeScaling& s) {
  return static_cast<double>(head_dim) *
         std::log(static_cast<double>(s.original_context) / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

Tensor Yarn(const Tensor& powers, double theta, int64_t head_dim, const RopeScaling& s) {
  double low = PairThatTurns(s.beta_fast, theta, head_dim, s), high = PairThatTurns(s.beta_slow, theta, head_dim, s);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  const Tensor ramp = ((torch::arange(head_dim / 2).to(torch::kFloat) - low) / (high - low)).clamp(0, 1);
  const Tensor kept = 1 - ramp;
  return 1.0 / (s.factor * powers) * (1 - kept) + 1.0 / powers * kept;
}

}  // namespace

Tensor RopeFrequencies(double theta, int64_t head_dim, const RopeScaling& s) {
  const Tensor exponent = torch::arange(0, head_dim, 2, torch::kLong).to(torch::kFloat) / static_cast<float>(head_dim);
  const Tensor powers = torch::pow(torch::full({}, theta, torch::kFloat), exponent);
  switch (s.kind) {
    case RopeScaling::Kind::kLinear:
      return (1.0 / powers).div_(s.factor);
    case RopeScaling::Kind::kLlama3:
      return Llama3(1.0 / powers, s);
    case RopeScaling::Kind::kYarn:
      return Yarn(powers, theta, head_dim, s);
    case RopeScaling::Kind::kFactors:
      return 1.0 / (torch::tensor(s.factors, torch::kFloat) * powers);
    default:
      return 1.0 / powers;
  }
}

RopeTable::RopeTable(double theta, int64_t head_dim, const RopeScaling& scaling, torch::Device device)
    : frequencies_(RopeFrequencies(theta, head_dim, scaling)),
      attention_factor_(scaling.attention_factor),
      device_(device) {}

Tensor RopeTable::Get(int64_t num_positions) {
  std::lock_guard lock(mutex_);
  if (!table_.defined() || table_.size(0) < num_positions) {
    int64_t grown = std::max<int64_t>(num_positions, table_.defined() ? 2 * table_.size(0) : 512);
    Tensor positions = torch::arange(grown, torch::kLong).to(torch::kFloat);
    Tensor angle = positions.unsqueeze(1) * frequencies_;  // [positions, head_dim / 2]
    table_ = torch::stack({angle.cos(), angle.sin()}, 1).mul_(attention_factor_).contiguous().to(device_);
  }
  return table_;
}

}  // namespace elrea
