// A device that is not the CPU, for tests on machines without one: torch's PrivateUse1 backend, registered by
// the program that links guarded_device.cc. What would fail on a GPU fails on it too:
//
//   - host code that reads or writes a tensor's memory ends in SIGSEGV, since the pages are open only inside
//   operators;
//   - an operator on tensors of several devices throws; copies may cross, and a tensor without dimensions on
//   the CPU may
//     go with any.
//
// The arithmetic is the CPU's. No streams, no events, no random generators.
#pragma once

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace elrea {

inline torch::Device GuardedDevice() { return {torch::kPrivateUse1, 0}; }

// What code for any device is tested on: the guarded one and, where there is one, a GPU.
inline std::vector<torch::Device> OtherDevices() {
  std::vector<torch::Device> devices = {GuardedDevice()};
  if (at::hasCUDA()) devices.emplace_back(torch::kCUDA, 0);
  return devices;
}
inline std::string NameOfDevice(const testing::TestParamInfo<torch::Device>& info) {
  return info.param.is_cuda() ? "Cuda" : "Guarded";
}

}  // namespace elrea
