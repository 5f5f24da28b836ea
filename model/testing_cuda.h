// What the tests on a GPU share. They compile with any libtorch and are skipped where there is no device.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace elrea {

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    at::manual_seed(1);
  }
};

// A copy on the GPU, undefined for an undefined tensor.
inline torch::Tensor OnGpu(const torch::Tensor& x) { return x.defined() ? x.to(torch::kCUDA) : x; }

// |gpu - cpu| <= tolerance * (1 + |cpu|) everywhere. gpu on the GPU, cpu on the CPU.
inline void ExpectCloseToCpu(const torch::Tensor& gpu, const torch::Tensor& cpu, double tolerance, const char* what) {
  ASSERT_TRUE(gpu.is_cuda()) << what;
  const torch::Tensor a = gpu.cpu().to(torch::kFloat), b = cpu.to(torch::kFloat);
  const torch::Tensor difference = (a - b).abs();
  EXPECT_TRUE((difference <= tolerance * (1 + b.abs())).all().item<bool>())
      << what << ": largest difference " << difference.max().item<float>();
}

}  // namespace elrea
