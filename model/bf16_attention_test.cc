// bf16 attention against the f32 path on the same (rounded) numbers, with groups, windows, caches and odd lengths.
#include "model/bf16_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/amx.h"
#include "model/bf16_products.h"
#include "model/kv_cache.h"
#include "model/packed_batch.h"

namespace elrea {
namespace {

using torch::Tensor;

class Bf16AttentionTest : public testing::TestWithParam<AttentionShape> {
 protected:
  void SetUp() override {
    if (!CanAttendBf16(GetParam(), Random(1, 1).to(torch::kBFloat16))) GTEST_SKIP() << "no bf16 dot products here";
  }
  static Tensor Random(int64_t rows, int64_t width) { return at::randn({rows, width}); }
  static double RelativeError(const Tensor& ours, const Tensor& reference) {
    return (ours.to(torch::kFloat) - reference).norm().item<double>() / std::max(1.0, reference.norm().item<double>());
  }
};

TEST_P(Bf16AttentionTest, ForwardAndBackwardAgreeWithF32) {
  const AttentionShape s = GetParam();
  PackedBatch batch;
  batch.offsets = {0, 1, 38, 103, 303};  // 1, 37, 65 and 200 tokens
  const int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  const Tensor qkv = Random(303, q_width + 2 * kv_width).to(torch::kBFloat16);
  const Tensor grad_out = Random(303, q_width).to(torch::kBFloat16);
  Tensor out = torch::empty_like(grad_out), reference = torch::empty({303, q_width});
  Attention(s, batch, 0, qkv, out);
  Attention(s, batch, 0, qkv.to(torch::kFloat), reference);
  EXPECT_LT(RelativeError(out, reference), 4e-3);
  Tensor grad = torch::empty_like(qkv), grad_reference = torch::empty(qkv.sizes());
  AttentionBackward(s, batch, qkv, out, grad_out, grad);
  AttentionBackward(s, batch, qkv.to(torch::kFloat), reference, grad_out.to(torch::kFloat), grad_reference);
  for (int64_t segment = 0; segment < batch.num_segments(); ++segment) {
    const auto rows = [&](const Tensor& t) { return t.narrow(0, batch.begin(segment), batch.length(segment)); };
    for (const auto& [first, width] : {std::pair{int64_t{0}, q_width}, {q_width, kv_width}, {q_width + kv_width, kv_width}}) {
      EXPECT_LT(RelativeError(rows(grad).narrow(1, first, width), rows(grad_reference).narrow(1, first, width)), 1e-2)
          << "segment " << segment << ", columns from " << first;
    }
  }
}

TEST_P(Bf16AttentionTest, ContinuesACache) {
  const AttentionShape s = GetParam();
  const int64_t kv_width = s.kv_heads * s.head_dim;
  const Tensor rows = Random(90, (s.heads + 2 * s.kv_heads) * s.head_dim).to(torch::kBFloat16);
  PackedBatch whole;
  whole.offsets = {0, 90};
  Tensor all = torch::empty({90, s.heads * s.head_dim}, torch::kBFloat16);
  Attention(s, whole, 0, rows, all);
  Tensor out = torch::empty({19, s.heads * s.head_dim}, torch::kBFloat16);
  for (int64_t kv_head = 0; kv_head < s.kv_heads; ++kv_head) {
    AttendBf16(s, rows.narrow(0, 71, 19), rows.narrow(1, s.heads * s.head_dim, kv_width),
               rows.narrow(1, s.heads * s.head_dim + kv_width, kv_width), 71, kv_head, out);
  }
  EXPECT_LT(RelativeError(out, all.narrow(0, 71, 19).to(torch::kFloat)), 4e-3);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Bf16AttentionTest,
                         testing::Values(AttentionShape{9, 3, 64, 0.125, 0}, AttentionShape{4, 1, 32, 0.2, 5},
                                         AttentionShape{4, 2, 16, 0.25, 70}, AttentionShape{4, 2, 32, 0.2, 0, 1.5},
                                         AttentionShape{4, 1, 16, 0.25, 40, 0.8}));

// C = A B + 1 for all ways to pack B. Sizes of whole and of odd blocks, of the vectors' and of the matrix unit's.
void ExpectProductsAgree() {
  for (const auto [m, k, n] : {std::array<int64_t, 3>{1, 2, 16}, {7, 10, 48}, {13, 64, 80}, {5, 7, 160}, {16, 32, 32},
                               {48, 33, 64}, {33, 70, 48}, {64, 256, 16}}) {
    const Tensor a = at::randn({m, (k + 1) / 2 * 2}).to(torch::kBFloat16), b = at::randn({k, n}).to(torch::kBFloat16);
    const Tensor expected = at::mm(a.narrow(1, 0, k).to(torch::kFloat), b.to(torch::kFloat)) + 1;
    std::vector<c10::BFloat16> packed((k + 1) / 2 * 2 * n);
    PackRowPairs(b.data_ptr<c10::BFloat16>(), n, k, n, packed.data());
    for (const bool accumulate : {true, false}) {
      Tensor c = torch::ones({m, n});
      MultiplyPacked(a.data_ptr<c10::BFloat16>(), a.size(1), m, (k + 1) / 2, {packed.data(), n}, n, c.data_ptr<float>(), n,
                     accumulate);
      if (!accumulate) c += 1;
      EXPECT_LT((c - expected).abs().max().item<float>(), 1e-4f * static_cast<float>(k)) << m << ", " << k << ", " << n;
    }
    if (k % 2 != 0) continue;
    std::vector<c10::BFloat16> turned(k * PackedWidth(n));
    const Tensor b_t = b.t().contiguous();
    PackTransposed(b_t.data_ptr<c10::BFloat16>(), k, n, k, turned.data());
    EXPECT_EQ(0, std::memcmp(packed.data(), turned.data(), packed.size() * sizeof(c10::BFloat16)));
  }
}

TEST(Bf16Products, AgreeWithTheLibraryForOddSizes) { ExpectProductsAgree(); }

TEST(Bf16Products, AgreeWithoutTheMatrixUnitToo) {
  const amx::Disabled disabled;
  ExpectProductsAgree();
}

}  // namespace
}  // namespace elrea
