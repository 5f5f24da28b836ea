// A block per row of logits, in two passes over it: the first keeps in each thread the largest logit so far and the sum
// of exponentials relative to it, the second writes the gradient.
#include "model/token_loss_cuda.h"

#include <cfloat>

#include "model/cuda_packs.cuh"

namespace elrea::cuda {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;

// sum * exp(top) of the logits seen. Not -inf at first: the difference of two of those is not a number.
struct Exponentials {
  float top = -FLT_MAX, sum = 0;
};

__device__ inline Exponentials Join(Exponentials a, Exponentials b) {
  Exponentials joined;
  joined.top = fmaxf(a.top, b.top);
  joined.sum = a.sum * expf(a.top - joined.top) + b.sum * expf(b.top - joined.top);
  return joined;
}

// Over the block. REQUIRES: called once in a kernel, by all threads.
__device__ inline Exponentials JoinBlock(Exponentials e) {
  __shared__ float tops[kWarps], sums[kWarps];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    Exponentials other;
    other.top = __shfl_xor_sync(0xffffffffu, e.top, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, e.sum, offset);
    e = Join(e, other);
  }
  if (threadIdx.x % 32 == 0) {
    tops[threadIdx.x / 32] = e.top;
    sums[threadIdx.x / 32] = e.sum;
  }
  __syncthreads();
  Exponentials all;
  for (int w = 0; w < kWarps; ++w) {
    Exponentials part;
    part.top = tops[w];
    part.sum = sums[w];
    all = Join(all, part);
  }
  return all;
}

template <int V, typename T>
__global__ void LossRowsKernel(LossRowsArgs<T> a) {
  T* row = a.logits + blockIdx.x * a.vocab;
  const int64_t target = a.targets[blockIdx.x];
  const float target_logit = ToFloat(row[target]);  // before the barrier of JoinBlock, after which rows are written
  Exponentials seen;
  for (int64_t i = threadIdx.x * V; i < a.vocab; i += kThreads * V) {
    float v[V];
    Load(row + i, v);
    float top = seen.top;
#pragma unroll
    for (int c = 0; c < V; ++c) top = fmaxf(top, v[c]);
    if (top > seen.top) {
      seen.sum *= expf(seen.top - top);
      seen.top = top;
    }
#pragma unroll
    for (int c = 0; c < V; ++c) seen.sum += expf(v[c] - top);
  }
  const Exponentials all = JoinBlock(seen);
  const float log_sum = all.top + logf(all.sum);
  if (threadIdx.x == 0) a.nll[blockIdx.x] = log_sum - target_logit;
  if (!a.with_grad) return;
  const float weight = a.weights[blockIdx.x];
  for (int64_t i = threadIdx.x * V; i < a.vocab; i += kThreads * V) {
    float v[V];
    Load(row + i, v);
#pragma unroll
    for (int c = 0; c < V; ++c) v[c] = expf(v[c] - log_sum) * weight - (i + c == target ? weight : 0.0f);
    Store(row + i, v);
  }
}

}  // namespace

template <typename T>
cudaError_t LossRows(const LossRowsArgs<T>& a, cudaStream_t stream) {
  if (a.rows == 0) return cudaSuccess;
  constexpr int kWide = 16 / sizeof(T);
  const auto grid = static_cast<unsigned>(a.rows);
  if (a.vocab % kWide == 0 && IsAligned<kWide>(a.logits)) {
    LossRowsKernel<kWide><<<grid, kThreads, 0, stream>>>(a);
  } else {
    LossRowsKernel<1><<<grid, kThreads, 0, stream>>>(a);
  }
  return cudaGetLastError();
}

template cudaError_t LossRows<float>(const LossRowsArgs<float>&, cudaStream_t);
template cudaError_t LossRows<__nv_bfloat16>(const LossRowsArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace elrea::cuda
