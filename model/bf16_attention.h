// Attention of bf16 segments with bf16 products and f32 sums and softmax: what attention.cc hands a (segment, kv head)
// task to where the processor has the instructions. Probabilities and their gradients are rounded to bf16.
#pragma once

#include <torch/types.h>

#include "model/attention.h"

namespace elrea {

// CPU, bf16, head_dim a multiple of 16, and a processor with bf16 dot products.
bool CanAttendBf16(const AttentionShape& shape, const torch::Tensor& qkv);

// queries [length, any] bf16 with the query heads in its first columns, keys and values [past + length, kv_heads *
// head_dim], out [length, heads * head_dim]; row strides any.
void AttendBf16(const AttentionShape& shape, const torch::Tensor& queries, const torch::Tensor& keys,
                const torch::Tensor& values, int64_t past, int64_t kv_head, torch::Tensor out);

// Of one segment without a cache: all [length, ...] bf16.
void AttendBackwardBf16(const AttentionShape& shape, const torch::Tensor& qkv, const torch::Tensor& out,
                        const torch::Tensor& grad_out, int64_t kv_head, torch::Tensor grad_qkv);

}  // namespace elrea
