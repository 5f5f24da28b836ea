// One block per (row, kv head): its query heads share what is read of the cache. A key is dotted by head_dim / 8
// neighbouring lanes, each with 16 bytes of it; the parts of the block that see other keys keep a softmax of their own
// (running maximum, sum and weighted values) and are joined at the end.
#include "model/attention_cuda.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace elrea::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kChunk = 8;     // elements per lane
constexpr int kMaxGroup = 8;  // query heads of a kv head served by one block

struct Chunk {
  float v[kChunk];
};

__device__ Chunk LoadChunk(const __nv_bfloat16* p) {
  const uint4 raw = *reinterpret_cast<const uint4*>(p);
  const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  Chunk c;
#pragma unroll
  for (int i = 0; i < kChunk / 2; ++i) {
    const float2 f = __bfloat1622float2(pairs[i]);
    c.v[2 * i] = f.x;
    c.v[2 * i + 1] = f.y;
  }
  return c;
}

__global__ void AppendKernel(const __nv_bfloat16* qkv, int64_t stride, int64_t q_width, int64_t kv_width,
                             CachedRows rows) {
  const CachedRow row = rows.rows[blockIdx.x];
  for (int t = blockIdx.y; t < row.count; t += gridDim.y) {
    const __nv_bfloat16* from = qkv + (row.first + t) * stride + q_width;
    const int64_t place = rows.layer * row.layer_stride + (static_cast<int64_t>(row.past) + t) * kv_width;
    auto* keys = static_cast<__nv_bfloat16*>(row.keys) + place;
    auto* values = static_cast<__nv_bfloat16*>(row.values) + place;
    for (int64_t i = threadIdx.x; i < kv_width; i += blockDim.x) {
      keys[i] = from[i];
      values[i] = from[kv_width + i];
    }
  }
}

// Running softmax of one query head as one lane sees it: its chunk of the values.
struct Softmax {
  float best = -INFINITY, total = 0;
  Chunk sum = {};

  __device__ void Add(float score, const Chunk& value) {
    const float top = fmaxf(best, score), keep = __expf(best - top), share = __expf(score - top);
    total = total * keep + share;
#pragma unroll
    for (int i = 0; i < kChunk; ++i) sum.v[i] = sum.v[i] * keep + share * value.v[i];
    best = top;
  }
};

template <int kHeadDim, int kGroup>
__global__ void DecodeKernel(DecodeShape s, const __nv_bfloat16* qkv, int64_t stride, CachedRows rows, __nv_bfloat16* out,
                             int64_t out_stride) {
  constexpr int kLanes = kHeadDim / kChunk;    // lanes that share a key
  constexpr int kParts = kThreads / kLanes;    // keys under way at a time
  __shared__ float shared_best[kGroup][kParts], shared_total[kGroup][kParts];
  __shared__ float shared_sum[kGroup][kHeadDim];
  const CachedRow row = rows.rows[blockIdx.x];
  if (row.count != 1) return;
  const int group = s.heads / s.kv_heads;
  const int kv_head = blockIdx.y, first_query = kv_head * group + static_cast<int>(blockIdx.z) * kGroup;
  const int queries = min(kGroup, group - static_cast<int>(blockIdx.z) * kGroup);
  const int part = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int64_t kv_width = static_cast<int64_t>(s.kv_heads) * kHeadDim;

  Chunk q[kGroup];
  Softmax softmax[kGroup];
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    if (g < queries) q[g] = LoadChunk(qkv + row.first * stride + (first_query + g) * kHeadDim + lane * kChunk);
  }
  const int end = row.past + 1, begin = s.window > 0 ? max(0, end - s.window) : 0;
  const int64_t place = rows.layer * row.layer_stride + kv_head * kHeadDim + lane * kChunk;
  const auto *keys = static_cast<const __nv_bfloat16*>(row.keys) + place,
             *values = static_cast<const __nv_bfloat16*>(row.values) + place;
  // All lanes of a warp go round equally often: the shuffles need them.
  for (int base = begin; base < end; base += kParts) {
    const int at = base + part;
    const bool seen = at < end;
    Chunk key = {}, value = {};
    if (seen) {
      key = LoadChunk(keys + at * kv_width);
      value = LoadChunk(values + at * kv_width);
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= queries) continue;  // the same for all threads
      float dot = 0;
#pragma unroll
      for (int i = 0; i < kChunk; ++i) dot += q[g].v[i] * key.v[i];
#pragma unroll
      for (int step = kLanes / 2; step > 0; step /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
      float score = dot * s.scale;
      if (s.softcap > 0) score = s.softcap * tanhf(score / s.softcap);
      if (seen) softmax[g].Add(score, value);
    }
  }
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    if (lane == 0) {
      shared_best[g][part] = softmax[g].best;
      shared_total[g][part] = softmax[g].total;
    }
    for (int i = threadIdx.x; i < kHeadDim; i += kThreads) shared_sum[g][i] = 0;
  }
  __syncthreads();
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    if (g >= queries) continue;
    float top = -INFINITY, total = 0;
    for (int p = 0; p < kParts; ++p) top = fmaxf(top, shared_best[g][p]);
    for (int p = 0; p < kParts; ++p) total += shared_total[g][p] * __expf(shared_best[g][p] - top);
    const float share = __expf(softmax[g].best - top) / total;
    for (int i = 0; i < kChunk; ++i) atomicAdd(&shared_sum[g][lane * kChunk + i], softmax[g].sum.v[i] * share);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < queries * kHeadDim; i += kThreads) {
    out[row.first * out_stride + first_query * kHeadDim + i] = __float2bfloat16(shared_sum[i / kHeadDim][i % kHeadDim]);
  }
}

template <int kHeadDim, int kGroup>
void Launch(const DecodeShape& s, const __nv_bfloat16* qkv, int64_t stride, const CachedRows& rows, __nv_bfloat16* out,
            int64_t out_stride, cudaStream_t stream) {
  const int group = s.heads / s.kv_heads;
  const dim3 grid(static_cast<unsigned>(rows.count), static_cast<unsigned>(s.kv_heads),
                  static_cast<unsigned>((group + kGroup - 1) / kGroup));
  DecodeKernel<kHeadDim, kGroup><<<grid, kThreads, 0, stream>>>(s, qkv, stride, rows, out, out_stride);
}

template <int kHeadDim>
void LaunchGroup(const DecodeShape& s, const __nv_bfloat16* qkv, int64_t stride, const CachedRows& rows, __nv_bfloat16* out,
                 int64_t out_stride, cudaStream_t stream) {
  const int group = s.heads / s.kv_heads;
  if (group == 1) return Launch<kHeadDim, 1>(s, qkv, stride, rows, out, out_stride, stream);
  if (group <= 2) return Launch<kHeadDim, 2>(s, qkv, stride, rows, out, out_stride, stream);
  if (group <= 4) return Launch<kHeadDim, 4>(s, qkv, stride, rows, out, out_stride, stream);
  Launch<kHeadDim, kMaxGroup>(s, qkv, stride, rows, out, out_stride, stream);
}

}  // namespace

cudaError_t AppendToCaches(const void* qkv, int64_t stride, int64_t q_width, int64_t kv_width, const CachedRows& rows,
                           int64_t longest, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(rows.count), static_cast<unsigned>(longest < 64 ? longest : 64));
  AppendKernel<<<grid, kThreads, 0, stream>>>(static_cast<const __nv_bfloat16*>(qkv), stride, q_width, kv_width, rows);
  return cudaGetLastError();
}

cudaError_t AttendToCaches(const DecodeShape& s, const void* qkv, int64_t stride, const CachedRows& rows, void* out,
                           int64_t out_stride, cudaStream_t stream) {
  const auto* from = static_cast<const __nv_bfloat16*>(qkv);
  auto* to = static_cast<__nv_bfloat16*>(out);
  switch (s.head_dim) {
    case 64: LaunchGroup<64>(s, from, stride, rows, to, out_stride, stream); break;
    case 128: LaunchGroup<128>(s, from, stride, rows, to, out_stride, stream); break;
    default: LaunchGroup<256>(s, from, stride, rows, to, out_stride, stream);
  }
  return cudaGetLastError();
}

}  // namespace elrea::cuda
