// Memory of the device a model is on.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace elrea {

// Bytes that can still be taken on a CUDA device, those that libtorch holds without using them included; none for other
// devices and in builds without CUDA.
std::optional<int64_t> FreeDeviceBytes(torch::Device device);

}  // namespace elrea
