// Memory of the device a model is on.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace elrea {

// Bytes that this program can still take on a CUDA device, those that libtorch holds without using them included; none for
// other devices and in builds without CUDA.
std::optional<int64_t> FreeDeviceBytes(torch::Device device);

// From now on tensors of this program take no more than `share`, in (0, 1], of a CUDA device's memory: one that would is an
// out-of-memory error. Nothing for other devices.
void LimitDeviceMemory(torch::Device device, double share);

// The most bytes that tensors took on a CUDA device since the program began or since the last call with `restart`; none
// as above.
std::optional<int64_t> PeakDeviceBytes(torch::Device device, bool restart = false);

}  // namespace elrea
