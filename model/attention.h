// Causal grouped-query attention inside each segment of a packed batch, forward and backward, with an optional key
// and value cache per segment and an optional sliding window.
//
// qkv [tokens, (heads + 2 kv_heads) * head_dim] T: queries, keys (both after rope), values. Arithmetic is f32.
#pragma once

#include <torch/types.h>

#include "model/config.h"
#include "model/packed_batch.h"

namespace elrea {

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
  double scale;    // multiplies q.k
  int64_t window;  // 0 = all earlier positions; else a position sees itself and window - 1 before it
  double softcap = 0;  // scores become softcap tanh(scale q.k / softcap); 0 = as they are
};
AttentionShape LayerAttention(const ModelConfig& config, int64_t layer);

// out [tokens, heads * head_dim] T. Segments with a cache first append their keys and values to it (at its length) and
// then attend to all of it; the caller advances the caches after the last layer.
void Attention(const AttentionShape& shape, const PackedBatch& batch, int64_t layer, const torch::Tensor& qkv,
               torch::Tensor& out);

// grad_qkv [tokens, (heads + 2 kv_heads) * head_dim] T from grad_out and out [tokens, heads * head_dim] T.
// REQUIRES: the forward pass had no caches. Scores are computed again rather than stored.
void AttentionBackward(const AttentionShape& shape, const PackedBatch& batch, const torch::Tensor& qkv,
                       const torch::Tensor& out, const torch::Tensor& grad_out, torch::Tensor& grad_qkv);

}  // namespace elrea
