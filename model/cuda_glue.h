// From tensors to the launches of *_cuda.h: pointers, types, the current stream. For builds with ELREA_CUDA.
#pragma once

#include <ATen/Dispatch.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>
#include <torch/types.h>

#include <type_traits>
#include <vector>

namespace elrea {

// Makes the device of `x` the current one; its current stream is where a launch goes. REQUIRES: x.is_cuda().
class LaunchScope {
 public:
  explicit LaunchScope(const torch::Tensor& x)
      : guard_(x.device()), stream_(c10::cuda::getCurrentCUDAStream(x.device().index())) {}
  operator cudaStream_t() const { return stream_; }

 private:
  c10::cuda::CUDAGuard guard_;
  c10::cuda::CUDAStream stream_;
};

// T as the kernels name it.
template <typename T>
using CudaType = std::conditional_t<std::is_same_v<T, c10::BFloat16>, __nv_bfloat16, T>;

// The data of `x` as T (float, __nv_bfloat16, an integer), null when undefined.
template <typename T>
T* CudaData(const torch::Tensor& x) {
  if (!x.defined()) return nullptr;
  TORCH_CHECK(x.is_cuda(), "a kernel for CUDA was given a tensor on ", x.device());
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return reinterpret_cast<T*>(x.data_ptr<c10::BFloat16>());
  } else {
    return x.data_ptr<T>();
  }
}

// The values as bytes on the device. Pageable memory has been read when the copy returns, so `values` may go.
template <typename T>
torch::Tensor BytesOnCuda(const std::vector<T>& values, torch::Device device) {
  const auto size = static_cast<int64_t>(values.size() * sizeof(T));
  const torch::Tensor bytes = torch::from_blob(const_cast<T*>(values.data()), {size}, torch::kByte);
  return bytes.to(device, torch::kByte, /*non_blocking=*/true);
}

// Runs the lambda with T, the kernels' name of the dtype (f32 or bf16).
#define ELREA_DISPATCH_CUDA(dtype, name, ...)                       \
  AT_DISPATCH_SWITCH(dtype, name,                                   \
                     AT_DISPATCH_CASE(at::kFloat, [&] {             \
                       using T = elrea::CudaType<scalar_t>;         \
                       __VA_ARGS__                                  \
                     }) AT_DISPATCH_CASE(at::kBFloat16, [&] {       \
                       using T = elrea::CudaType<scalar_t>;         \
                       __VA_ARGS__                                  \
                     }))

}  // namespace elrea
