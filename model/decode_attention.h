// The inner loops of attention on the CPU: the masked softmax of one row, and one new token per segment against its
// cache (decoding), streamed without gathering or copying the cache.
#pragma once

#include "model/attention.h"

namespace elrea {

// row[begin, end) = softmax(scale * row[begin, end)); everything else becomes 0. REQUIRES: 0 <= begin < end <= size.
void SoftmaxRow(float* row, int64_t size, int64_t begin, int64_t end, float scale);

// Whether DecodeAttention serves this tensor: CPU, head_dim a multiple of 16.
bool CanDecodeFused(const AttentionShape& shape, const torch::Tensor& qkv);

// Like Attention where every segment is one token whose key and value are already in its cache.
void DecodeAttention(const AttentionShape& shape, const PackedBatch& batch, int64_t layer, const torch::Tensor& qkv,
                     torch::Tensor& out);

}  // namespace elrea
