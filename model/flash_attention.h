// Attention on a CUDA device in bf16: whole segments by the flash kernels of libtorch (Dao 2023), which take packed
// rows as they are, and single new tokens against their caches by a kernel of our own. Arithmetic is f32 inside.
#pragma once

#include "model/attention.h"

namespace elrea {

// Whether the functions below serve this tensor: a build with CUDA, bf16 on such a device, head_dim of 64, 128 or 256.
bool CanAttendOnCuda(const AttentionShape& shape, const torch::Tensor& qkv);

// Appends the keys and values of every segment that has a cache to it, at its length, in one launch.
// REQUIRES: the caches have room.
void AppendToCachesOnCuda(const AttentionShape& shape, const PackedBatch& batch, int64_t layer, const torch::Tensor& qkv);

// Attention among the rows of each segment, as if none had anything before it. REQUIRES: no soft-cap.
void FlashAttention(const AttentionShape& shape, const PackedBatch& batch, const torch::Tensor& qkv, torch::Tensor& out);
// Like AttentionBackward.
void FlashAttentionBackward(const AttentionShape& shape, const PackedBatch& batch, const torch::Tensor& qkv,
                            const torch::Tensor& grad_out, torch::Tensor& grad_qkv);

// Rows of `out` of the segments that are one token with a cache. REQUIRES: AppendToCachesOnCuda of this layer.
void DecodeAttentionOnCuda(const AttentionShape& shape, const PackedBatch& batch, int64_t layer, const torch::Tensor& qkv,
                           torch::Tensor& out);

}  // namespace elrea
