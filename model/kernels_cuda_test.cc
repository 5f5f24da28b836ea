// Each kernel for CUDA against the same function on the CPU, whole tensors, in f32 and bf16: narrow and wide rows, with
// widths that do and do not allow packs of elements, one row, few rows and numbers of rows that fill no block.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/kernels.h"
#include "model/testing_cuda.h"
#include "model/token_loss.h"

namespace elrea {
namespace {

using torch::Tensor;

struct Case {
  torch::Dtype dtype;
  int64_t tokens, width;
};

class KernelsCudaTest : public CudaTest, public testing::WithParamInterface<Case> {
 protected:
  Tensor Random(int64_t columns) const { return RandomFloat(columns).to(GetParam().dtype); }
  Tensor RandomFloat(int64_t columns) const { return torch::randn({tokens(), columns}); }
  int64_t width() const { return GetParam().width; }
  int64_t tokens() const { return GetParam().tokens; }
  // bf16 may differ by one rounding, f32 by the order of sums.
  double tolerance() const { return GetParam().dtype == torch::kFloat ? kFloatTolerance : 1e-2; }
  static constexpr double kFloatTolerance = 1e-5;
};

TEST_P(KernelsCudaTest, AddAndNormAndItsBackward) {
  const Tensor weight = torch::rand({width()}) + 0.5, gpu_weight = OnGpu(weight);
  for (const bool first : {false, true}) {  // the first norm of a pass adds nothing
    Tensor residual = RandomFloat(width()), addend = first ? Tensor() : Random(width());
    Tensor normed = Random(width()), rstd = torch::empty({tokens()}), saved = first ? Tensor() : Random(width());
    Tensor gpu_residual = OnGpu(residual), gpu_normed = OnGpu(normed);
    Tensor gpu_rstd = OnGpu(rstd), gpu_saved = OnGpu(saved);
    AddAndNorm(gpu_residual, OnGpu(addend), gpu_weight, 1e-5, gpu_normed, gpu_rstd, gpu_saved);
    AddAndNorm(residual, addend, weight, 1e-5, normed, rstd, saved);
    ExpectCloseToCpu(gpu_residual, residual, kFloatTolerance, "residual");
    ExpectCloseToCpu(gpu_normed, normed, tolerance(), "normed");
    ExpectCloseToCpu(gpu_rstd, rstd, kFloatTolerance, "rstd");
    if (first) continue;
    ExpectCloseToCpu(gpu_saved, saved, tolerance(), "saved");
    Tensor again = torch::empty_like(gpu_normed);
    ReplayNorm(gpu_saved, gpu_rstd, gpu_weight, again);
    ExpectCloseToCpu(again, normed, 2 * tolerance(), "replayed");  // from what was rounded
    Tensor grad = Random(width()), grad_residual = RandomFloat(width()), gpu_grad_residual = OnGpu(grad_residual);
    NormBackward(OnGpu(grad), OnGpu(saved), OnGpu(rstd), gpu_weight, gpu_grad_residual);
    NormBackward(grad, saved, rstd, weight, grad_residual);
    ExpectCloseToCpu(gpu_grad_residual, grad_residual, kFloatTolerance, "grad_residual");
  }
}

TEST_P(KernelsCudaTest, SliceNormAndItsBackward) {
  const int64_t slices = 3;
  const Tensor weight = torch::rand({width()}) + 0.5, gpu_weight = OnGpu(weight);
  for (const int64_t more : {int64_t{0}, width(), int64_t{3}}) {  // columns that are left as they are
    Tensor x = Random(slices * width() + more), saved = Random(slices * width());
    Tensor rstd = torch::empty({tokens(), slices});
    Tensor gpu_x = OnGpu(x), gpu_saved = OnGpu(saved), gpu_rstd = OnGpu(rstd);
    SliceNorm(gpu_x, slices, gpu_weight, 1e-6, gpu_saved, gpu_rstd);
    SliceNorm(x, slices, weight, 1e-6, saved, rstd);
    ExpectCloseToCpu(gpu_x, x, tolerance(), "normed");
    ExpectCloseToCpu(gpu_saved, saved, 0, "saved");
    ExpectCloseToCpu(gpu_rstd, rstd, kFloatTolerance, "rstd");
    Tensor grad = Random(slices * width() + more), gpu_grad = OnGpu(grad);
    SliceNormBackward(gpu_grad, slices, gpu_weight, gpu_saved, OnGpu(rstd));
    SliceNormBackward(grad, slices, weight, saved, rstd);
    ExpectCloseToCpu(gpu_grad, grad, tolerance(), "gradient");
  }
  Tensor x = Random(slices * width()), none, gpu_x = OnGpu(x);
  SliceNorm(gpu_x, slices, gpu_weight, 1e-6, none, none);
  SliceNorm(x, slices, weight, 1e-6, none, none);
  ExpectCloseToCpu(gpu_x, x, tolerance(), "normed, nothing kept");
}

TEST_P(KernelsCudaTest, RopeOfAPartOfTheColumns) {
  const int64_t heads = 3, head_dim = 2 * width();
  const Tensor table = torch::randn({40, 2, head_dim / 2}), positions = torch::randint(40, {tokens()}, torch::kLong);
  for (const int64_t before : {int64_t{0}, width(), int64_t{5}}) {
    Tensor x = Random(before + heads * head_dim), gpu_x = OnGpu(x);
    Rope(gpu_x.narrow(1, before, heads * head_dim), heads, head_dim, OnGpu(table), positions, /*inverse=*/false);
    Rope(x.narrow(1, before, heads * head_dim), heads, head_dim, table, positions, false);
    ExpectCloseToCpu(gpu_x, x, tolerance(), "turned");
    gpu_x = OnGpu(x);
    Rope(gpu_x.narrow(1, before, heads * head_dim), heads, head_dim, OnGpu(table), OnGpu(positions), /*inverse=*/true);
    Rope(x.narrow(1, before, heads * head_dim), heads, head_dim, table, positions, true);
    ExpectCloseToCpu(gpu_x, x, tolerance(), "turned back");
  }
}

TEST_P(KernelsCudaTest, GatedActivationAndItsBackward) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    Tensor gate_up = Random(2 * width()) * 3, act = Random(width());
    gate_up.select(1, 0).fill_(-300);  // far out, where exponentials overflow
    gate_up.select(1, 1).fill_(300);
    Tensor gpu_gate_up = OnGpu(gate_up), gpu_act = OnGpu(act);
    GatedActivation(gpu_gate_up, activation, gpu_act);
    GatedActivation(gate_up, activation, act);
    ExpectCloseToCpu(gpu_act, act, tolerance(), "act");
    Tensor grad = Random(width()), elsewhere = torch::empty_like(gpu_gate_up);
    GatedActivationBackward(OnGpu(grad), gpu_gate_up, activation, elsewhere);
    GatedActivationBackward(OnGpu(grad), gpu_gate_up, activation, gpu_gate_up);
    GatedActivationBackward(grad, gate_up, activation, gate_up);
    // In f32 ATen's own derivative of GELU, the CPU's where the width is odd, cancels to a few 1e-5.
    ExpectCloseToCpu(gpu_gate_up, gate_up, std::max(tolerance(), 4e-5), "grad_gate_up");
    EXPECT_TRUE(gpu_gate_up.equal(elsewhere)) << "in place differs";
  }
}

TEST_P(KernelsCudaTest, AddLowRankOnSomeRowsAndColumns) {
  for (const int64_t k : {5, 8, 64, 100}) {
    for (const int64_t first : {int64_t{0}, width(), int64_t{3}}) {
      Tensor y = Random(2 * width() + 3), h = RandomFloat(k + 2), m = torch::randn({k, width()}) / 4;
      Tensor gpu_y = OnGpu(y);
      const int64_t begin = tokens() > 1 ? 1 : 0;
      AddLowRank(gpu_y, first, OnGpu(h), 2, OnGpu(m), 0.5f, begin, tokens());
      AddLowRank(y, first, h, 2, m, 0.5f, begin, tokens());
      ExpectCloseToCpu(gpu_y, y, tolerance(), "y");
    }
  }
}

TEST_P(KernelsCudaTest, TokenLossAndItsGradient) {
  const int64_t vocab = 2 * width();
  for (const double softcap : {0.0, 5.0}) {
    const Tensor normed = Random(width()), targets = torch::randint(vocab, {tokens()}, torch::kLong);
    const Tensor head = (torch::randn({vocab, width()}) / std::sqrt(static_cast<double>(width()))).to(GetParam().dtype);
    const Tensor weights = torch::rand({tokens()}) + 0.1;
    Tensor grad, gpu_grad;
    const Tensor nll = TokenLoss(normed, head, softcap, targets, weights, &grad);
    const Tensor gpu_nll = TokenLoss(OnGpu(normed), OnGpu(head), softcap, OnGpu(targets), OnGpu(weights), &gpu_grad);
    // Logits of bf16 round at their own magnitude; the product's sums have another order in f32.
    const bool is_float = GetParam().dtype == torch::kFloat;
    ExpectCloseToCpu(gpu_nll, nll, is_float ? 2e-5 : 2e-2, "nll");
    grad = grad.to(torch::kFloat);
    const Tensor difference = gpu_grad.cpu().to(torch::kFloat) - grad;
    EXPECT_LT((difference.norm() / grad.norm()).item<double>(), is_float ? 2e-5 : 2e-2);
    const Tensor without = TokenLoss(OnGpu(normed), OnGpu(head), softcap, OnGpu(targets), OnGpu(weights), nullptr);
    EXPECT_TRUE(without.equal(gpu_nll));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, KernelsCudaTest,
                         testing::Values(Case{torch::kFloat, 37, 576}, Case{torch::kBFloat16, 37, 576},
                                         Case{torch::kFloat, 1, 1536}, Case{torch::kBFloat16, 5, 1536},
                                         Case{torch::kFloat, 203, 64}, Case{torch::kBFloat16, 203, 64},
                                         Case{torch::kFloat, 7, 20}, Case{torch::kBFloat16, 7, 20},
                                         Case{torch::kFloat, 9, 257}, Case{torch::kBFloat16, 9, 257}));

}  // namespace
}  // namespace elrea
