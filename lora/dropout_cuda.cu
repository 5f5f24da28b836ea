// A block per row; the masks are those of the CPU, bit for bit.
#include "lora/dropout_cuda.h"

#include "lora/dropout_bits.h"
#include "model/cuda_packs.cuh"

namespace elrea::cuda {

namespace {

template <int V, typename T>
__global__ void DropoutKernel(DropoutArgs<T> a) {
  const int64_t start = blockIdx.x * a.width;
  const uint32_t row_key = DropoutRowKey(a.key, a.first_place + blockIdx.x);
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V], sum[V] = {};
    Load(a.x + start + i, v);
    if (a.add) Load(a.out + start + i, sum);
#pragma unroll
    for (int c = 0; c < V; ++c) {
      const bool kept = DropoutBits(static_cast<uint32_t>(i + c) ^ row_key) >= a.threshold;
      sum[c] += kept ? v[c] * a.scale : 0.0f;
    }
    Store(a.out + start + i, sum);
  }
}

}  // namespace

template <typename T>
cudaError_t Dropout(const DropoutArgs<T>& a, cudaStream_t stream) {
  if (a.rows == 0) return cudaSuccess;
  constexpr int kWide = 16 / sizeof(T), kThreads = 128;
  const auto grid = static_cast<unsigned>(a.rows);
  if (a.width % kWide == 0 && IsAligned<kWide>(a.x) && IsAligned<kWide>(a.out)) {
    DropoutKernel<kWide><<<grid, kThreads, 0, stream>>>(a);
  } else {
    DropoutKernel<1><<<grid, kThreads, 0, stream>>>(a);
  }
  return cudaGetLastError();
}

template cudaError_t Dropout<float>(const DropoutArgs<float>&, cudaStream_t);
template cudaError_t Dropout<__nv_bfloat16>(const DropoutArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace elrea::cuda
