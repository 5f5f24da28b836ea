// What the CUDA kernels share: packs of elements moved by one wide access, sums over the threads of a row, and the
// shapes of the launches that give a row of a matrix to a warp or to a block.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace elrea::cuda {

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline void SetFloat(float& to, float x) { to = x; }
__device__ inline void SetFloat(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }

template <typename T, int V>
struct alignas(V * sizeof(T)) Pack {
  T at[V];
};

// V elements from p on, as f32. REQUIRES: p is a multiple of V * sizeof(T).
template <int V, typename T>
__device__ inline void Load(const T* p, float (&values)[V]) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(p);
#pragma unroll
  for (int c = 0; c < V; ++c) values[c] = ToFloat(pack.at[c]);
}
template <int V, typename T>
__device__ inline void Store(T* p, const float (&values)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int c = 0; c < V; ++c) SetFloat(pack.at[c], values[c]);
  *reinterpret_cast<Pack<T, V>*>(p) = pack;
}

// Whether packs of V elements can be read from p on. A null pointer is not read at all.
template <int V, typename T>
bool IsAligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % (V * sizeof(T)) == 0;
}

__device__ inline float WarpSum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// The sum over the kWarps warps that share a row. REQUIRES: called once in a kernel, by all of their threads.
template <int kWarps>
__device__ inline float RowSum(float x) {
  x = WarpSum(x);
  if constexpr (kWarps > 1) {
    __shared__ float parts[kWarps];
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) x += parts[w];
  }
  return x;
}

// The row of this thread in a launch of LaunchRows; threadIdx.x counts the threads of the row.
__device__ inline int64_t ThreadRow() { return static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y; }

template <int kValue>
using Int = std::integral_constant<int, kValue>;

// launch(Int<V>, Int<kWarps>, grid, block): narrow rows go one to a warp and eight to a block, wide ones one to a block
// of four warps. Rows past the last exist in the first form only, so that whole warps may return early.
template <typename Launch>
cudaError_t LaunchRows(int64_t rows, int64_t width, bool use_packs, const Launch& launch) {
  if (rows == 0) return cudaSuccess;
  constexpr int kNarrow = 256, kRowsOfBlock = 8, kWide = 4;
  if (width <= kNarrow) {
    const dim3 grid(static_cast<unsigned>((rows + kRowsOfBlock - 1) / kRowsOfBlock)), block(32, kRowsOfBlock);
    use_packs ? launch(Int<4>{}, Int<1>{}, grid, block) : launch(Int<1>{}, Int<1>{}, grid, block);
  } else {
    const dim3 grid(static_cast<unsigned>(rows)), block(32 * kWide);
    use_packs ? launch(Int<4>{}, Int<kWide>{}, grid, block) : launch(Int<1>{}, Int<kWide>{}, grid, block);
  }
  return cudaGetLastError();
}

}  // namespace elrea::cuda
