// The inner loops of attention on the CPU: the masked softmax of one row, and one new token per segment against its
// cache (decoding), streamed without gathering or copying the cache.
#pragma once

#include <vector>

#include "model/attention.h"

namespace elrea {

// scores = cap tanh(scale * scores / cap), `size` of them; `size` % 16 may be anything.
void SoftcapScores(float* scores, int64_t size, float scale, float cap);

// row[begin, end) = softmax(scale * row[begin, end)); everything else becomes 0. REQUIRES: 0 <= begin < end <= size.
void SoftmaxRow(float* row, int64_t size, int64_t begin, int64_t end, float scale);

// One new token and one kv head: the query heads of the group, q [group, head_dim], against the cached keys they can
// see, up to position cache.length(), where the new one is. out [group, head_dim]. `scores` is working memory.
// T: dtype of the cache; Q: of q and out. Instantiated for equal types and for bf16 caches with f32.
template <typename T, typename Q>
void AttendToCache(const AttentionShape& shape, const KvCache& cache, int64_t layer, int64_t kv_head, const Q* q,
                   Q* out, std::vector<float>& scores);

// Whether DecodeAttention serves this tensor: CPU, head_dim a multiple of 16.
bool CanDecodeFused(const AttentionShape& shape, const torch::Tensor& qkv);

// Like Attention where every segment is one token whose key and value are already in its cache.
void DecodeAttention(const AttentionShape& shape, const PackedBatch& batch, int64_t layer, const torch::Tensor& qkv,
                     torch::Tensor& out);

}  // namespace elrea
