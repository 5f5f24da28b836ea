// Adam with decoupled weight decay on one flat parameter vector (Kingma and Ba 2015; Loshchilov and Hutter 2019).
//
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p -= lr (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + eps) + lr wd p
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace elrea {

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
};

struct AdamState {
  torch::Tensor m, v;  // [num_params] f32
  int64_t steps = 0;
};
AdamState MakeAdamState(int64_t num_params, torch::Device device = torch::kCPU);

// One step; params, grad [num_params] f32, all on the device of the state.
void AdamStep(const AdamOptions& options, double learning_rate, const torch::Tensor& grad, torch::Tensor& params,
              AdamState& state);

// Learning rate of step `step` of `total` (0-based): linear warm-up over the first share, then linear decay to zero.
double LinearSchedule(double peak, double warmup_fraction, int64_t step, int64_t total);

}  // namespace elrea
