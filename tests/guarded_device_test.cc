// The guarded device itself: what it refuses, and that what it allows is the CPU's.
#include "tests/guarded_device.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>

namespace elrea {
namespace {

using torch::Tensor;

Tensor Guarded(const std::vector<float>& values) { return torch::tensor(values).to(GuardedDevice()); }

TEST(GuardedDeviceTest, HostCodeCannotTouchItsMemory) {
  const Tensor t = Guarded({1, 2, 3});
  EXPECT_TRUE(t.cpu().equal(torch::tensor({1.0f, 2.0f, 3.0f})));
  const float* memory = t.data_ptr<float>();
  EXPECT_DEATH(std::printf("%f", static_cast<double>(*const_cast<volatile const float*>(memory))), "");
}

TEST(GuardedDeviceTest, OperatorsRefuseTensorsOfSeveralDevices) {
  Tensor here = torch::ones({2, 2}), there = torch::ones({2, 2}, GuardedDevice());
  EXPECT_THROW(there + here, c10::Error);
  EXPECT_THROW(there.add_(here), c10::Error);
  EXPECT_THROW(here.add_(there), c10::Error);
  EXPECT_THROW(at::mm(there, here), c10::Error);
  EXPECT_THROW(torch::cat({here, there}), c10::Error);
  EXPECT_THROW(there.index_select(0, torch::tensor({int64_t{1}})), c10::Error);
  EXPECT_EQ((there * torch::tensor(3.0f)).sum().item<float>(), 12);
  here.narrow(0, 0, 1).copy_(there.narrow(0, 0, 1) * 5);
  EXPECT_TRUE(here.equal(torch::tensor({{5.0f, 5.0f}, {1.0f, 1.0f}})));
}

TEST(GuardedDeviceTest, ViewsResultsAndNewSizesAreThoseOfTheCpu) {
  Tensor t = torch::arange(6, torch::dtype(torch::kFloat).device(GuardedDevice())).view({2, 3});
  t.t().narrow(0, 1, 1).zero_();
  t.select(0, 1).add_(t.select(0, 0), 2);
  EXPECT_TRUE(t.cpu().equal(torch::tensor({{0.0f, 0.0f, 2.0f}, {3.0f, 0.0f, 9.0f}})));
  Tensor out = torch::empty({0}, t.options());
  EXPECT_TRUE(at::mm_out(out, t, t.t()).is_same(out));
  EXPECT_TRUE(out.cpu().equal(torch::tensor({{4.0f, 18.0f}, {18.0f, 90.0f}})));
  EXPECT_TRUE(out.is_privateuseone());
}

}  // namespace
}  // namespace elrea
