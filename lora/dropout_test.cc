// Dropout masks by place: how often, how scaled, and that cutting a step into passes changes nothing.
#include "lora/dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace elrea {
namespace {

using torch::Tensor;

Tensor Masked(const Tensor& x, const DropoutRows& rows) {
  Tensor out = torch::zeros_like(x);
  ApplyDropout(x, rows, out);
  return out;
}

TEST(DropoutTest, DropsTheGivenShareAndKeepsTheMean) {
  const Tensor ones = torch::ones({400, 100}, torch::kFloat);
  const Tensor out = Masked(ones, {{0.25, 7}, 0, 400});
  const double dropped = (out == 0).to(torch::kFloat).mean().item<double>();
  EXPECT_NEAR(dropped, 0.25, 0.01);  // 40,000 draws: 4.6 deviations
  EXPECT_TRUE(out.masked_select(out != 0).allclose(torch::full({1}, 1 / 0.75f)));
  EXPECT_TRUE(Masked(ones, {{0, 7}, 0, 400}).equal(ones));
}

TEST(DropoutTest, AMaskBelongsToThePlaceWhateverTheCut) {
  for (const int64_t width : {48, 19}) {  // 19: a tail shorter than a vector
    for (const torch::Dtype dtype : {torch::kFloat, torch::kBFloat16}) {
      const Tensor x = torch::randn({60, width}).to(dtype);
      const Tensor whole = Masked(x, {{0.4, 3}, 0, 60});
      const Tensor moved = torch::cat({torch::randn({5, width}).to(dtype), x.narrow(0, 23, 37)});
      const Tensor part = Masked(moved, {{0.4, 3}, 5, 42, /*first_place=*/23});
      EXPECT_TRUE(part.narrow(0, 5, 37).equal(whole.narrow(0, 23, 37))) << width;
      EXPECT_TRUE(part.narrow(0, 0, 5).equal(torch::zeros({5, width}, dtype))) << "rows outside the range are left";
    }
  }
}

TEST(DropoutTest, TheTailOfARowIsDrawnAsInAWiderRow) {
  const Tensor x = torch::randn({30, 32});
  const Tensor narrow = x.narrow(1, 0, 19).contiguous();
  EXPECT_TRUE(Masked(narrow, {{0.5, 9}, 0, 30}).equal(Masked(x, {{0.5, 9}, 0, 30}).narrow(1, 0, 19)));
}

TEST(DropoutTest, KeysAndPlacesDrawDifferentMasks) {
  const Tensor x = torch::ones({64, 64});
  const Tensor a = Masked(x, {{0.5, 1}, 0, 64}), b = Masked(x, {{0.5, 2}, 0, 64});
  EXPECT_NEAR((a == b).to(torch::kFloat).mean().item<double>(), 0.5, 0.05);
  EXPECT_NEAR((a.narrow(0, 0, 63) == a.narrow(0, 1, 63)).to(torch::kFloat).mean().item<double>(), 0.5, 0.05);
}

TEST(DropoutTest, AddDroppedAddsTheSameMask) {
  const Tensor x = torch::randn({20, 21}), before = torch::randn({20, 21});
  Tensor sum = before.clone();
  AddDropped(x, {{0.3, 5}, 4, 20, 100}, sum);
  EXPECT_TRUE(sum.allclose(before + Masked(x, {{0.3, 5}, 4, 20, 100})));
}

}  // namespace
}  // namespace elrea
