// A block per row: its warps share the dot products h = A x, then its threads the outputs.
#include "lora/low_rank_rows_cuda.h"

#include "model/cuda_packs.cuh"

namespace elrea::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

template <int V, typename T>
__global__ void LowRankRowsKernel(LowRankRowsArgs<T> a) {
  extern __shared__ float h[];  // [num_slots * rank]
  const LowRankPlace place = a.places[blockIdx.x];
  const LowRankEntry& entry = a.entries[place.entry];
  const T* x = a.x + place.row * a.in;
  const T* matrix = static_cast<const T*>(entry.a);
  const int lane = threadIdx.x % 32;
  for (int j = threadIdx.x / 32; j < entry.num_slots * entry.rank; j += kWarps) {
    const T* row = matrix + j * a.in;
    float dot = 0;
    for (int64_t i = lane * V; i < a.in; i += 32 * V) {
      float xv[V], av[V];
      Load(x + i, xv);
      Load(row + i, av);
#pragma unroll
      for (int c = 0; c < V; ++c) dot += xv[c] * av[c];
    }
    dot = WarpSum(dot);
    if (lane == 0) h[j] = dot;
  }
  __syncthreads();
  for (int s = 0; s < entry.num_slots; ++s) {
    const LowRankEntry::Slot slot = entry.slots[s];
    const T* b_t = static_cast<const T*>(slot.b_t);
    const float* hidden = h + s * entry.rank;
    T* y = a.y + place.row * a.y_width + slot.out_first;
    for (int i = threadIdx.x; i < slot.out; i += kThreads) {
      float total = 0;
      for (int j = 0; j < entry.rank; ++j) total += hidden[j] * ToFloat(b_t[static_cast<int64_t>(j) * slot.out + i]);
      SetFloat(y[i], ToFloat(y[i]) + total * entry.scale);
    }
  }
}

}  // namespace

template <typename T>
cudaError_t AddLowRankRows(const LowRankRowsArgs<T>& a, cudaStream_t stream) {
  if (a.num_places == 0) return cudaSuccess;
  constexpr int kWide = 16 / sizeof(T);
  const auto grid = static_cast<unsigned>(a.num_places);
  const size_t shared_bytes = static_cast<size_t>(a.max_hidden) * sizeof(float);
  if (a.in % kWide == 0 && IsAligned<kWide>(a.x)) {
    LowRankRowsKernel<kWide><<<grid, kThreads, shared_bytes, stream>>>(a);
  } else {
    LowRankRowsKernel<1><<<grid, kThreads, shared_bytes, stream>>>(a);
  }
  return cudaGetLastError();
}

template cudaError_t AddLowRankRows<float>(const LowRankRowsArgs<float>&, cudaStream_t);
template cudaError_t AddLowRankRows<__nv_bfloat16>(const LowRankRowsArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace elrea::cuda
