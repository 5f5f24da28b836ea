// Products batched over padded segments against those of each segment alone.
#include "features/batched_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

namespace elrea {
namespace {

using torch::Tensor;

TEST(BatchedGradients, EqualThoseOfEachSegment) {
  const AdapterLayout::Group group{256, 48, {{Projection::kGate, 48, 80, 0, 4096}, {Projection::kUp, 48, 32, 80, 8192}}};
  PackedBatch batch;
  batch.offsets = {0, 1, 38, 40, 171};  // 1, 37, 2 and 131 tokens
  const SegmentRows all{at::randn({171, 48}), at::randn({171, 112}), at::randn({171, 12}), at::randn({171, 12})};
  std::map<int64_t, Tensor> together;  // by the first coordinate
  BatchedGradients(batch, torch::kCPU).Emit(group, 6, 0.5f, all, [&](int64_t begin, const Tensor& gradients) {
    together[begin] = gradients;
  });
  ASSERT_EQ(together.size(), 3u);
  const SegmentGradients alone(group, 6, 0.5f);
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    const auto rows = [&](const Tensor& t) { return t.narrow(0, batch.begin(s), batch.length(s)); };
    alone.Emit({rows(all.x), rows(all.grad_y), rows(all.h), rows(all.grad_h)},
               [&](int64_t begin, int64_t count, const float* grad) {
                 const Tensor expected = torch::tensor(std::vector<float>(grad, grad + count));
                 ASSERT_EQ(together.at(begin).size(1), count);
                 EXPECT_LT((together.at(begin)[s] - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>())
                     << "segment " << s << ", from coordinate " << begin;
               });
  }
}

}  // namespace
}  // namespace elrea
