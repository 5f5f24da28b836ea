// One thread per coordinate: a block of threads is one block of 256 coordinates (16 vectors of 16 lanes) of one row.
// features/projection.h has the definition.
#include "features/projection_cuda.h"

#include <cuda_runtime.h>

#include "core/rng.h"

namespace elrea::cuda {
namespace {

constexpr int kLanes = 16, kVectors = 16, kBlock = kLanes * kVectors;

__device__ uint64_t Hash(uint64_t stream_seed, uint64_t vector) {
  return MixBits(stream_seed + 0x9e3779b97f4a7c15ULL * (vector + 1));
}

__device__ float WithSign(float value, uint64_t bits, int lane) { return (bits >> lane) & 1 ? -value : value; }

__device__ float AdamForm(const AdamTerms& t, float g, int64_t at) {
  const float first = t.c_m != 0 ? fmaf(t.c_m, t.m[at], t.c_g * g) : t.c_g * g;
  const float second = fmaf(t.c_v, t.v[at], t.c_g_squared * (g * g));
  return first / (sqrtf(second) + t.eps);
}

__global__ void ProjectKernel(ProjectAdamArgs a) {
  __shared__ float mixed[kBlock];
  const int thread = threadIdx.x, vector = thread / kLanes, lane = thread % kLanes;
  const int64_t row = blockIdx.y, place = static_cast<int64_t>(blockIdx.x) * kBlock + thread;
  const uint64_t vector_idx =
      static_cast<uint64_t>(a.begin / kLanes + static_cast<int64_t>(blockIdx.x) * kVectors + vector);
  const uint64_t hash = Hash(a.stream_seeds[0], vector_idx);
  float value = 0;
  if (place < a.count) value = AdamForm(a.terms[row], a.gradients[row * a.count + place], a.begin + place);
  value = WithSign(value, hash >> 16, lane);
  for (int stride = kLanes; stride < kBlock; stride *= 2) {
    mixed[thread] = value;
    __syncthreads();
    value = thread & stride ? mixed[thread - stride] - value : value + mixed[thread + stride];
    __syncthreads();
  }
  float* sum = a.sums + row * a.sum_stride;
  for (int r = 0; r < a.repetitions; ++r) {
    const uint64_t bits = r == 0 ? hash : Hash(a.stream_seeds[r], vector_idx);
    const int64_t offset = static_cast<int64_t>(((bits >> 32) * static_cast<uint64_t>(a.d_proj)) >> 32);
    atomicAdd(sum + offset + lane, WithSign(value, bits, lane));
  }
}

}  // namespace

cudaError_t ProjectAdam(const ProjectAdamArgs& a, cudaStream_t stream) {
  if (a.rows == 0 || a.count == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>((a.count + kBlock - 1) / kBlock), static_cast<unsigned>(a.rows));
  ProjectKernel<<<grid, kBlock, 0, stream>>>(a);
  return cudaGetLastError();
}

}  // namespace elrea::cuda
