// Each fused kernel against its eager twin, whole tensors, in f32 and bf16, with widths that are and are not multiples
// of the vector length and token counts around the block sizes.
#include "model/kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/linear.h"
#include "model/token_loss.h"

namespace elrea {
namespace {

using torch::Tensor;

struct Case {
  torch::Dtype dtype;
  int64_t tokens, width;
};

// bf16 results may differ by one rounding (2^-8 relative); f32 by the order of sums and the cancellation in ATen's own
// derivative of GELU.
void ExpectClose(const Tensor& a, const Tensor& b, torch::Dtype dtype, const char* what) {
  double tolerance = dtype == torch::kFloat ? 1e-5 : 1.6e-2;
  Tensor difference = (a.to(torch::kFloat) - b.to(torch::kFloat)).abs();
  Tensor allowed = tolerance * (1 + b.to(torch::kFloat).abs());
  EXPECT_TRUE((difference <= allowed).all().item<bool>()) << what << ": largest difference " << difference.max().item<float>();
}

class KernelsTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { torch::manual_seed(1); }
  Tensor Random(int64_t columns) const { return torch::randn({GetParam().tokens, columns}).to(GetParam().dtype); }
  Tensor RandomFloat(int64_t columns) const { return torch::randn({GetParam().tokens, columns}); }
  torch::Dtype dtype() const { return GetParam().dtype; }
  int64_t width() const { return GetParam().width; }
  int64_t tokens() const { return GetParam().tokens; }
};

TEST_P(KernelsTest, AddAndNormAndItsBackward) {
  Tensor residual = RandomFloat(width()), addend = Random(width()), weight = torch::rand({width()}) + 0.5;
  Tensor r1 = residual.clone(), r2 = residual.clone();
  Tensor n1 = Random(width()), n2 = n1.clone(), s1 = n1.clone(), s2 = n1.clone();
  Tensor d1 = torch::empty({tokens()}), d2 = d1.clone();
  AddAndNorm(r1, addend, weight, 1e-5, n1, d1, s1);
  eager::AddAndNorm(r2, addend, weight, 1e-5, n2, d2, s2);
  ExpectClose(r1, r2, torch::kFloat, "residual");
  ExpectClose(n1, n2, dtype(), "normed");
  ExpectClose(d1, d2, torch::kFloat, "rstd");
  ExpectClose(s1, s2, dtype(), "saved");
  Tensor again = torch::empty_like(n1);
  ReplayNorm(s1, d1, weight, again);
  ExpectClose(again, n1, dtype(), "replayed");
  Tensor grad = Random(width()), g1 = RandomFloat(width()), g2 = g1.clone();
  NormBackward(grad, s1, d1, weight, g1);
  eager::NormBackward(grad, s1, d1, weight, g2);
  ExpectClose(g1, g2, torch::kFloat, "grad_residual");
}

TEST_P(KernelsTest, SliceNormAndItsBackward) {
  int64_t slices = 3;
  Tensor x = Random(slices * width() + width()), weight = torch::rand({width()}) + 0.5;
  Tensor x1 = x.clone(), x2 = x.clone(), s1 = Random(slices * width()), s2 = s1.clone();
  Tensor d1 = torch::empty({tokens(), slices}), d2 = d1.clone();
  SliceNorm(x1, slices, weight, 1e-6, s1, d1);
  eager::SliceNorm(x2, slices, weight, 1e-6, s2, d2);
  ExpectClose(x1, x2, dtype(), "normed");
  ExpectClose(d1, d2, torch::kFloat, "rstd");
  EXPECT_TRUE(x1.narrow(1, slices * width(), width()).equal(x.narrow(1, slices * width(), width())));
  Tensor g = Random(slices * width()), g1 = g.clone(), g2 = g.clone();
  SliceNormBackward(g1, slices, weight, s1, d1);
  eager::SliceNormBackward(g2, slices, weight, s1, d1);
  ExpectClose(g1, g2, dtype(), "gradient");
}

TEST_P(KernelsTest, RopeTurnsAndTurnsBack) {
  int64_t heads = 2, head_dim = 2 * width();
  Tensor x = Random(heads * head_dim + 5), table = torch::randn({40, 2, head_dim / 2});
  Tensor positions = torch::randint(40, {tokens()}, torch::kLong);
  for (bool inverse : {false, true}) {
    Tensor x1 = x.clone(), x2 = x.clone();
    Rope(x1, heads, head_dim, table, positions, inverse);
    eager::Rope(x2, heads, head_dim, table, positions, inverse);
    ExpectClose(x1, x2, dtype(), "rope");
  }
}

TEST_P(KernelsTest, GatedActivationAndItsBackward) {
  for (Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    Tensor gate_up = Random(2 * width()) * 3, a1 = Random(width()), a2 = a1.clone();
    GatedActivation(gate_up, activation, a1);
    eager::GatedActivation(gate_up, activation, a2);
    ExpectClose(a1, a2, dtype(), "act");
    Tensor grad = Random(width()), g1 = gate_up.clone(), g2 = torch::empty_like(gate_up);
    GatedActivationBackward(grad, g1, activation, g1);  // in place, as the decoder uses it
    eager::GatedActivationBackward(grad, gate_up, activation, g2);
    ExpectClose(g1, g2, dtype(), "grad_gate_up");
  }
}

TEST_P(KernelsTest, AddLowRankOnSomeRowsAndColumns) {
  int64_t k = 5;
  Tensor y = Random(2 * width()), h = RandomFloat(k + 2), m = torch::randn({k, width()});
  Tensor y1 = y.clone(), y2 = y.clone();
  int64_t begin = tokens() > 1 ? 1 : 0;
  AddLowRank(y1, width(), h, 2, m, 0.5f, begin, tokens());
  eager::AddLowRank(y2, width(), h, 2, m, 0.5f, begin, tokens());
  ExpectClose(y1, y2, dtype(), "y");
  EXPECT_TRUE(y1.narrow(1, 0, width()).equal(y.narrow(1, 0, width()))) << "columns outside changed";
}

TEST_P(KernelsTest, FrozenLinearForAnyNumberOfRows) {
  Tensor weight = torch::randn({52, width()}).to(dtype()), many = torch::randn({kFewRows + 3, width()}).to(dtype());
  Tensor expected = at::mm(many.to(torch::kFloat), weight.to(torch::kFloat).t());
  for (int64_t rows = 1; rows <= many.size(0); ++rows) {
    Tensor x = many.narrow(0, 0, rows).contiguous(), y = FrozenLinear(x, weight);
    ExpectClose(y, expected.narrow(0, 0, rows), dtype(), "y");
    if (CanStreamRows(x, weight)) {  // a row does not see its neighbours
      EXPECT_TRUE(y.narrow(0, rows - 1, 1).equal(FrozenLinear(x.narrow(0, rows - 1, 1).contiguous(), weight)));
    }
  }
}

TEST_P(KernelsTest, TokenLossAgainstLogSoftmax) {
  int64_t vocab = 2 * width(), n = tokens();
  for (double softcap : {0.0, 5.0}) {
    Tensor normed = Random(width()), head = torch::randn({vocab, width()}).to(dtype());
    Tensor targets = torch::randint(vocab, {n}, torch::kLong), weights = torch::rand({n}) + 0.1, grad;
    Tensor nll = TokenLoss(normed, head, softcap, targets, weights, &grad);
    Tensor x = normed.to(torch::kFloat).requires_grad_(true);
    Tensor logits = at::mm(x, head.to(torch::kFloat).t());
    if (softcap > 0) logits = (logits / softcap).tanh() * softcap;
    Tensor expected = -torch::log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).squeeze(1);
    (expected * weights).sum().backward();
    double scale = dtype() == torch::kFloat ? 1 : 8;  // bf16 logits round at their own magnitude
    EXPECT_LT((nll - expected).abs().max().item<double>(), scale * (dtype() == torch::kFloat ? 1e-4 : 2e-2));
    double relative = ((grad.to(torch::kFloat) - x.grad()).norm() / x.grad().norm()).item<double>();
    EXPECT_LT(relative, dtype() == torch::kFloat ? 1e-5 : 3e-2);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, KernelsTest,
                         testing::Values(Case{torch::kFloat, 37, 48}, Case{torch::kBFloat16, 37, 48},
                                         Case{torch::kFloat, 1, 16}, Case{torch::kBFloat16, 200, 64},
                                         Case{torch::kFloat, 7, 20}, Case{torch::kBFloat16, 7, 20}));

}  // namespace
}  // namespace elrea
