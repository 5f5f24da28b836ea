#include "model/gptq.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/expect_error.h"
#include "model/bitsandbytes_codes.h"
#include "model/quantize.h"

namespace elrea {
namespace {

using torch::Tensor;

constexpr std::array<float, 16> kMap = {-1, -0.8f, -0.6f, -0.5f, -0.4f, -0.25f, -0.1f, 0, 0.1f, 0.2f, 0.3f, 0.45f, 0.6f, 0.7f, 0.85f, 1};

// Sums of x x^T of 3 * in inputs whose coordinates go together and differ in size.
Tensor CorrelatedMoments(int64_t in, uint64_t seed) {
  torch::manual_seed(seed);
  const Tensor x = at::mm(torch::randn({3 * in, in}), torch::randn({in, in})) * torch::linspace(0.1, 2, in);
  return at::mm(x.t(), x);
}

Tensor Rounded(const Tensor& codes, const Tensor& scales) {
  const Tensor map = torch::tensor(std::vector<float>(kMap.begin(), kMap.end()));
  return map.index_select(0, codes.reshape(-1).to(torch::kLong)).view(codes.sizes()) * scales;
}

int64_t NearestCode(double x) {
  int64_t best = 0;
  for (int64_t c = 1; c < 16; ++c) {
    if (std::abs(x - kMap[static_cast<size_t>(c)]) < std::abs(x - kMap[static_cast<size_t>(best)])) best = c;
  }
  return best;
}

// What GPTQ comes from (Optimal Brain Surgeon): rounds one column, solves anew for what is left. In f64.
Tensor PlainCodes(const Tensor& values, const Tensor& scales, const Tensor& moments) {
  const int64_t out = values.size(0), in = values.size(1);
  const Tensor order = moments.diagonal().argsort(true, 0, true);
  Tensor h = moments.to(torch::kDouble);
  h = h + torch::eye(in, torch::kDouble) * 0.01 * h.diagonal().mean();
  Tensor w = values.to(torch::kDouble).clone(), codes = torch::zeros({out, in}, torch::kByte);
  for (int64_t step = 0; step < in; ++step) {
    const Tensor left = order.slice(0, step);
    const Tensor inverse = at::linalg_inv(h.index_select(0, left).index_select(1, left));
    const int64_t j = order[step].item<int64_t>();
    for (int64_t o = 0; o < out; ++o) {
      const double scale = scales[o][j].item<double>(), value = w[o][j].item<double>();
      const int64_t code = NearestCode(scale != 0 ? value / scale : 0);
      codes[o][j] = code;
      const double error = (value - kMap[static_cast<size_t>(code)] * scale) / inverse[0][0].item<double>();
      w[o].index_add_(0, left, inverse[0] * -error);
    }
  }
  return codes;
}

TEST(Gptq, GivesTheCodesOfSolvingAnewForEachColumn) {
  const int64_t out = 9, in = 14;
  const Tensor moments = CorrelatedMoments(in, 1), values = torch::randn({out, in});
  const Tensor scales = values.abs().amax({1}, true).expand({out, in}) * 0.9;
  EXPECT_TRUE(GptqCodes(values, scales, moments, kMap).equal(PlainCodes(values, scales, moments)));
}

// More columns than are rounded together, and more rows than a thread takes.
TEST(Gptq, ChangesTheProductsLessThanTheNearestCodes) {
  const Tensor moments = CorrelatedMoments(300, 2), values = torch::randn({130, 300});
  const Tensor scales = values.abs().amax({1}, true).expand({130, 300});
  const auto error = [&](const Tensor& codes) {
    const Tensor change = Rounded(codes, scales) - values;
    return at::mm(change, moments).mul(change).sum().item<double>();
  };
  const Tensor nearest = GptqCodes(values, scales, torch::eye(300), kMap);
  EXPECT_LT(error(GptqCodes(values, scales, moments, kMap)), 0.3 * error(nearest));
}

TEST(Gptq, TakesTheNearestCodesWhereInputsDoNotGoTogether) {
  const Tensor values = torch::randn({5, 70}), scales = values.abs().amax({1}, true).expand({5, 70});
  for (const Tensor& moments : {torch::eye(70), torch::diag(torch::rand({70}) + 0.1), torch::zeros({70, 70})}) {
    const Tensor codes = GptqCodes(values, scales, moments, kMap);
    for (int64_t o = 0; o < 5; ++o) {
      for (int64_t j = 0; j < 70; ++j)
        EXPECT_EQ(codes[o][j].item<int64_t>(), NearestCode((values[o][j] / scales[o][j]).item<double>()));
    }
  }
}

TEST(Gptq, ZerosStayZeroAndSingularMomentsAreDamped) {
  Tensor values = torch::randn({4, 64});
  values[1].zero_();
  const Tensor x = torch::randn({1, 64}), moments = at::mm(x.t(), x) * 1e6;
  for (const bool nested : {false, true}) {
    const auto codes = QuantizeNf4(values, nested, moments);
    Tensor back = torch::empty({4, 64});
    codes->ReadInto(0, back);
    EXPECT_TRUE(at::isfinite(back).all().item<bool>());
    EXPECT_LT(back[1].abs().max().item<float>(), 1e-2f);  // nested: as near to zero as its scales come
  }
}

TEST(Gptq, RefusesMomentsThatAreNotFinite) {
  Tensor moments = torch::eye(8);
  moments[2][2] = std::numeric_limits<float>::infinity();
  ExpectError(ErrorKind::kCorrupt, {"not finite"}, [&] { GptqCodes(torch::ones({2, 8}), torch::ones({2, 8}), moments, kMap); });
}

// Rows whose blocks of 64 begin and end inside them: scales belong to weights, not to rows.
TEST(Gptq, AnyShape) {
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{3, 7}, {5, 100}, {1, 1}}) {
    const Tensor values = torch::randn({rows, cols}), moments = torch::eye(cols);
    Tensor calibrated = torch::empty({rows, cols}), nearest = torch::empty({rows, cols});
    QuantizeNf4(values, false, moments)->ReadInto(0, calibrated);
    QuantizeNf4(values, false)->ReadInto(0, nearest);
    EXPECT_LT((calibrated - nearest).abs().max().item<double>(), 1e-6);
  }
}

}  // namespace
}  // namespace elrea
