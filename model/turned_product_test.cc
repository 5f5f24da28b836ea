#include "model/turned_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/bf16_products.h"

namespace elrea {
namespace {

using torch::Tensor;

// Whole and odd pieces of rows and columns; h and x are parts of wider rows.
TEST(TurnedProduct, IsTheSumOverRows) {
  if (!HasBf16Products()) GTEST_SKIP() << "no bf16 dot products here";
  for (const auto [rows, hidden, n] : {std::array<int64_t, 3>{0, 4, 16}, {1, 8, 16}, {7, 24, 208}, {256, 8, 192}, {515, 3, 400}}) {
    const Tensor h = at::randn({rows, hidden + 5}), x = at::randn({rows, n + 16}).to(torch::kBFloat16);
    Tensor sum = torch::full({hidden, n}, NAN);
    MultiplyTurned({h.data_ptr<float>() + 5, h.stride(0)}, {x.data_ptr<c10::BFloat16>() + 16, x.stride(0)}, rows, hidden, n,
                   sum.data_ptr<float>());
    const Tensor rounded = h.narrow(1, 5, hidden).to(torch::kBFloat16).to(torch::kFloat);
    const Tensor expected = at::mm(rounded.t(), x.narrow(1, 16, n).to(torch::kFloat));
    EXPECT_LE((sum - expected).abs().max().item<float>(), 1e-5f * static_cast<float>(rows)) << rows << ", " << hidden << ", " << n;
  }
}

}  // namespace
}  // namespace elrea
