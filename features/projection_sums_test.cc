// Sums made on a GPU against ProjectAdam, piece by piece and for two lengths at once.
#include "features/projection_sums.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace elrea {
namespace {

using torch::Tensor;

TEST(ProjectionSumsCuda, EqualThoseOfTheCpu) {
  const torch::Device device(torch::kCUDA);
  if (!at::hasCUDA() || !ProjectionSums::Serves(device)) GTEST_SKIP() << "no GPU, or a build without CUDA";
  constexpr int64_t kParams = 256 * 37 + 100, kRows = 5;
  const std::vector<RandomProjection> projections = {{1, kParams, 512}, {7, kParams, 100, 3}};
  const Tensor gradients = at::randn({kRows, kParams}) * 1e-3, m = at::randn({kParams}) * 1e-3, v = at::rand({kParams}) * 1e-6;
  std::vector<DeviceAdamForm> forms;
  std::vector<AdamForm> host_forms;
  for (int64_t row = 0; row < kRows; ++row) {
    const AdamForm form = {.steps = 1 + row, .momentum = row % 2 == 0};
    host_forms.push_back(form);
    forms.push_back({form, m.to(device), v.to(device)});
  }
  ProjectionSums sums(projections, forms, device);
  std::vector<std::pair<int64_t, int64_t>> pieces = {{0, 256 * 20}, {256 * 20, 256}, {256 * 21, kParams - 256 * 21}};
  for (const auto& [begin, count] : pieces) sums.Add(begin, gradients.narrow(1, begin, count).contiguous().to(device));
  const Tensor taken = sums.Take();
  for (int64_t row = 0; row < kRows; ++row) {
    Tensor expected = torch::zeros({taken.size(1)});
    float* first = expected.data_ptr<float>();
    const std::vector<float*> parts = {first, first + projections[0].sum_size()};
    for (const auto& [begin, count] : pieces) {
      ProjectAdam(host_forms[static_cast<size_t>(row)], gradients[row].data_ptr<float>() + begin,
                  m.data_ptr<float>() + begin, v.data_ptr<float>() + begin, begin, count, projections, parts);
    }
    EXPECT_LT((taken[row] - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>()) << "row " << row;
  }
}

}  // namespace
}  // namespace elrea
