// The bf16 products of one segment against those in f32, and the order of the pieces.
#include "features/segment_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace elrea {
namespace {

using torch::Tensor;

struct Piece {
  int64_t begin;
  Tensor grad;
};
std::vector<Piece> Emit(const SegmentGradients& gradients, const SegmentRows& rows) {
  std::vector<Piece> pieces;
  gradients.Emit(rows, [&](int64_t begin, int64_t count, const float* grad) {
    pieces.push_back({begin, torch::tensor(std::vector<float>(grad, grad + count))});
  });
  return pieces;
}

TEST(SegmentGradients, Bf16AgreesWithF32) {
  const AdapterLayout::Group group{256, 48, {{Projection::kGate, 48, 80, 0, 4096}, {Projection::kUp, 48, 32, 80, 8192}}};
  const SegmentGradients gradients(group, 6, 0.5f);
  for (int64_t length : {1, 2, 7, 64, 131}) {
    const auto bf16 = [&](int64_t width) { return at::randn({length, width}).to(torch::kBFloat16); };
    const SegmentRows rows{bf16(48), bf16(112), at::randn({length, 12}), at::randn({length, 12})};
    const std::vector<Piece> ours = Emit(gradients, rows);
    const std::vector<Piece> f32 =
        Emit(gradients, {rows.x.to(torch::kFloat), rows.grad_y.to(torch::kFloat), rows.h, rows.grad_h});
    ASSERT_EQ(ours.size(), 3u);
    ASSERT_EQ(f32.size(), 3u);
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i].begin, f32[i].begin);
      ASSERT_EQ(ours[i].grad.numel(), f32[i].grad.numel());
      EXPECT_LT(((ours[i].grad - f32[i].grad).norm() / f32[i].grad.norm()).item<double>(), 4e-3)
          << "length " << length << ", piece " << i;
    }
  }
}

}  // namespace
}  // namespace elrea
