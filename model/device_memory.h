// Memory of the device a model is on.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace elrea {

// Bytes that can still be taken on a CUDA device, those that libtorch holds without using them included; none for other
// devices and in builds without CUDA.
std::optional<int64_t> FreeDeviceBytes(torch::Device device);

// The most bytes that tensors took on a CUDA device since the program began or since the last call with `restart`; none
// as above.
std::optional<int64_t> PeakDeviceBytes(torch::Device device, bool restart = false);

}  // namespace elrea
