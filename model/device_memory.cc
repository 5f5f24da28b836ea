#include "model/device_memory.h"

#ifdef ELREA_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <cuda_runtime_api.h>
#endif

namespace elrea {

#ifdef ELREA_CUDA

std::optional<int64_t> FreeDeviceBytes(torch::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return std::nullopt;
  namespace allocator = c10::cuda::CUDACachingAllocator;
  const auto stats = allocator::getDeviceStats(device.has_index() ? device.index() : 0);
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<int64_t>(free) + stats.reserved_bytes[all].current - stats.allocated_bytes[all].current;
}

#else

std::optional<int64_t> FreeDeviceBytes(torch::Device) { return std::nullopt; }

#endif

}  // namespace elrea
