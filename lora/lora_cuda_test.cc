// Adapters on a GPU against the same on the CPU: dropout masks bit for bit.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/dropout.h"
#include "model/testing_cuda.h"

namespace elrea {
namespace {

using torch::Tensor;

class LoraCudaTest : public CudaTest, public testing::WithParamInterface<torch::Dtype> {
 protected:
  double tolerance() const { return GetParam() == torch::kFloat ? 1e-5 : 1e-2; }
  Tensor Random(int64_t rows, int64_t columns) const { return torch::randn({rows, columns}).to(GetParam()); }
};

TEST_P(LoraCudaTest, DropoutMasksAreThoseOfTheCpu) {
  for (const int64_t width : {576, 64, 19}) {
    const DropoutRows rows{{0.3, 77}, 5, 38, /*first_place=*/1000};
    const Tensor x = Random(41, width);
    Tensor out = Random(41, width), gpu_out = OnGpu(out);
    ApplyDropout(x, rows, out);
    ApplyDropout(OnGpu(x), rows, gpu_out);
    EXPECT_TRUE(gpu_out.cpu().equal(out)) << width;
    Tensor in_place = OnGpu(x);
    ApplyDropout(in_place, rows, in_place);
    EXPECT_TRUE(in_place.narrow(0, 5, 33).equal(gpu_out.narrow(0, 5, 33))) << width;
    Tensor sum = Random(41, width), gpu_sum = OnGpu(sum);
    AddDropped(x, rows, sum);
    AddDropped(OnGpu(x), rows, gpu_sum);
    ExpectCloseToCpu(gpu_sum, sum, tolerance(), "sum");  // the CPU may add before it rounds the product
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LoraCudaTest, testing::Values(torch::kFloat, torch::kBFloat16),
                         [](const auto& info) { return info.param == torch::kFloat ? "f32" : "bf16"; });

}  // namespace
}  // namespace elrea
