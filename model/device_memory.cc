#include "model/device_memory.h"

#ifdef ELREA_CUDA
#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#endif

namespace elrea {

#ifdef ELREA_CUDA

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;
constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

c10::DeviceIndex IndexOf(torch::Device device) { return device.has_index() ? device.index() : c10::DeviceIndex{0}; }

}  // namespace

std::optional<int64_t> FreeDeviceBytes(torch::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return std::nullopt;
  const auto stats = allocator::getDeviceStats(IndexOf(device));
  const int64_t reserved = stats.reserved_bytes[kAll].current;
  const auto share = static_cast<int64_t>(allocator::getMemoryFraction(IndexOf(device)) * static_cast<double>(total));
  return std::min(static_cast<int64_t>(free), share - reserved) + reserved - stats.allocated_bytes[kAll].current;
}

void LimitDeviceMemory(torch::Device device, double share) {
  if (!device.is_cuda()) return;
  at::globalContext().lazyInitDevice(torch::kCUDA);  // the allocator knows no devices before
  allocator::setMemoryFraction(share, IndexOf(device));
}

std::optional<int64_t> PeakDeviceBytes(torch::Device device, bool restart) {
  if (!device.is_cuda()) return std::nullopt;
  const int64_t peak = allocator::getDeviceStats(IndexOf(device)).allocated_bytes[kAll].peak;
  if (restart) allocator::resetPeakStats(IndexOf(device));
  return peak;
}

#else

std::optional<int64_t> FreeDeviceBytes(torch::Device) { return std::nullopt; }
void LimitDeviceMemory(torch::Device, double) {}
std::optional<int64_t> PeakDeviceBytes(torch::Device, bool) { return std::nullopt; }

#endif

}  // namespace elrea
