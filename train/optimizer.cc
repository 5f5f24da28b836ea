#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace elrea {

namespace {

// The same step with ATen, for tensors on other devices than the CPU.
void DeviceAdamStep(const AdamOptions& o, double learning_rate, const torch::Tensor& grad, torch::Tensor& params,
                    AdamState& state) {
  const auto n = static_cast<double>(state.steps);
  state.m.mul_(o.beta1).add_(grad, 1 - o.beta1);
  state.v.mul_(o.beta2).addcmul_(grad, grad, 1 - o.beta2);
  const torch::Tensor divisor = (state.v / (1 - std::pow(o.beta2, n))).sqrt_().add_(o.epsilon);
  if (o.weight_decay != 0) params.mul_(1 - learning_rate * o.weight_decay);
  params.addcdiv_(state.m, divisor, -learning_rate / (1 - std::pow(o.beta1, n)));
}

}  // namespace

AdamState MakeAdamState(int64_t num_params, torch::Device device) {
  const auto options = torch::dtype(torch::kFloat).device(device);
  return {torch::zeros({num_params}, options), torch::zeros({num_params}, options), 0};
}

void AdamStep(const AdamOptions& o, double learning_rate, const torch::Tensor& grad, torch::Tensor& params,
              AdamState& state) {
  ++state.steps;
  if (!params.is_cpu()) return DeviceAdamStep(o, learning_rate, grad, params, state);
  auto n = static_cast<double>(state.steps);
  auto b1 = static_cast<float>(o.beta1), b2 = static_cast<float>(o.beta2), eps = static_cast<float>(o.epsilon);
  auto correct1 = static_cast<float>(1 / (1 - std::pow(o.beta1, n)));
  auto correct2 = static_cast<float>(1 / (1 - std::pow(o.beta2, n)));
  auto lr = static_cast<float>(learning_rate), shrink = static_cast<float>(1 - learning_rate * o.weight_decay);
  const float* g = grad.data_ptr<float>();
  float *p = params.data_ptr<float>(), *m = state.m.data_ptr<float>(), *v = state.v.data_ptr<float>();
  at::parallel_for(0, params.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      m[i] = b1 * m[i] + (1 - b1) * g[i];
      v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
      p[i] = p[i] * shrink - lr * (m[i] * correct1) / (std::sqrt(v[i] * correct2) + eps);
    }
  });
}

double LinearSchedule(double peak, double warmup_fraction, int64_t step, int64_t total) {
  auto warmup = static_cast<int64_t>(std::ceil(warmup_fraction * static_cast<double>(total)));
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  return peak * static_cast<double>(total - step) / static_cast<double>(std::max<int64_t>(total - warmup, 1));
}

}  // namespace elrea
