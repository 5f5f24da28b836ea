// Kernels of attention with caches on a CUDA device, bf16. Plain pointers: no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace elrea::cuda {

// Rows [first, first + count) of a pass and the cache they continue.
struct CachedRow {
  void* keys;    // [layers, capacity, kv_heads * head_dim] bf16
  void* values;  // as keys
  int64_t layer_stride;
  int32_t first, count;
  int32_t past;  // positions before these rows
};

struct CachedRows {
  const CachedRow* rows;  // [count] on the device
  int64_t count;
  int64_t layer;
};

struct DecodeShape {
  int32_t heads, kv_heads, head_dim;  // head_dim 64, 128 or 256
  float scale;
  float softcap;   // 0: none
  int32_t window;  // 0: none
};

// Copies keys and values out of qkv [tokens, stride] bf16 into the caches, behind what they hold. No row has more
// than `longest` tokens.
cudaError_t AppendToCaches(const void* qkv, int64_t stride, int64_t q_width, int64_t kv_width,
                           const CachedRows& rows, int64_t longest, cudaStream_t stream);

// out[first] [heads * head_dim] = attention of the query in qkv[first] to the past + 1 cached positions, for the
// rows of one token; the others are left alone.
cudaError_t AttendToCaches(const DecodeShape& shape, const void* qkv, int64_t stride, const CachedRows& rows,
                           void* out, int64_t out_stride, cudaStream_t stream);

}  // namespace elrea::cuda
