#include "study/router.h"

#include <ATen/ATen.h>

#include <cmath>

#include "study/cluster_stability.h"

namespace elrea {

using torch::Tensor;

std::vector<double> SoftmaxRouter::Probabilities(std::span<const float> feature) const {
  const Tensor x = torch::from_blob(const_cast<float*>(feature.data()),
                                    {static_cast<int64_t>(feature.size())}, torch::kFloat);
  const Tensor p = torch::softmax(weight.mv(x) + bias, 0).to(torch::kDouble).contiguous();
  return {p.data_ptr<double>(), p.data_ptr<double>() + p.numel()};
}

SoftmaxRouter TrainRouter(const FeatureStore& rows, const Clustering& clustering) {
  constexpr int kSteps = 500;
  constexpr double kRate = 0.1, kDecay = 1e-3, kBeta1 = 0.9, kBeta2 = 0.999;
  const auto clusters = static_cast<int64_t>(clustering.clusters.size());
  const Tensor x =
      torch::from_blob(const_cast<float*>(rows.all().data()), {rows.num_rows(), rows.dim()}, torch::kFloat);
  const Tensor target = torch::one_hot(torch::tensor(RowLabels(clustering)), clusters).to(torch::kFloat);
  // [clusters, feat + 1]: the weights and, in the last column, the bias.
  Tensor params = torch::zeros({clusters, rows.dim() + 1}), m = torch::zeros_like(params),
         v = torch::zeros_like(params);
  for (int step = 1; step <= kSteps; ++step) {
    const Tensor w = params.narrow(1, 0, rows.dim());
    const Tensor error = (torch::softmax(x.mm(w.t()) + params.select(1, rows.dim()), 1) - target) /
                         static_cast<double>(rows.num_rows());
    const Tensor grad = torch::cat({error.t().mm(x) + 2 * kDecay * w, error.sum(0).unsqueeze(1)}, 1);
    m = kBeta1 * m + (1 - kBeta1) * grad;
    v = kBeta2 * v + (1 - kBeta2) * grad * grad;
    params = params -
             kRate * (m / (1 - std::pow(kBeta1, step))) / ((v / (1 - std::pow(kBeta2, step))).sqrt() + 1e-8);
  }
  return {params.narrow(1, 0, rows.dim()).contiguous(), params.select(1, rows.dim()).contiguous()};
}

}  // namespace elrea
