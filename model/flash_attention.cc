#include "model/flash_attention.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/kv_cache.h"

#ifdef ELREA_CUDA
#include "model/attention_cuda.h"
#include "model/cuda_glue.h"
#endif

namespace elrea {

using torch::Tensor;

#ifdef ELREA_CUDA

namespace {

struct Heads {
  Tensor q, k, v;  // [tokens, heads or kv_heads, head_dim], views of qkv
};

Heads SplitHeads(const AttentionShape& s, const Tensor& qkv) {
  const int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  const auto part = [&](int64_t first, int64_t heads) {
    return qkv.narrow(1, first, heads * s.head_dim).unflatten(1, {heads, s.head_dim});
  };
  return {part(0, s.heads), part(q_width, s.kv_heads), part(q_width + kv_width, s.kv_heads)};
}

int64_t LongestSegment(const PackedBatch& batch) {
  int64_t longest = 0;
  for (int64_t i = 0; i < batch.num_segments(); ++i) longest = std::max(longest, batch.length(i));
  return longest;
}

// A window of w positions reaches w - 1 back; never ahead.
std::optional<int64_t> Reach(const AttentionShape& s) {
  return s.window > 0 ? std::optional<int64_t>(s.window - 1) : std::nullopt;
}

struct FlashResult {
  Tensor out, log_sum_exp, rng_state, unused;
};

FlashResult Flash(const AttentionShape& s, const PackedBatch& batch, const Heads& heads) {
  const Tensor& offsets = batch.OffsetsOn(heads.q.device());
  const int64_t longest = LongestSegment(batch);
  auto [out, log_sum_exp, rng_state, unused, mask] = at::_flash_attention_forward(
      heads.q, heads.k, heads.v, offsets, offsets, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/true,
      /*return_debug_mask=*/false, s.scale, Reach(s), s.window > 0 ? std::optional<int64_t>(0) : std::nullopt);
  return {out, log_sum_exp, rng_state, unused};
}

// The caches of the batch as a table on the device.
Tensor CacheTable(const PackedBatch& batch, torch::Device device) {
  std::vector<cuda::CachedRow> rows;
  for (int64_t i = 0; i < batch.num_segments(); ++i) {
    const KvCache* cache = batch.cache(i);
    if (cache == nullptr) continue;
    rows.push_back({cache->key_data<c10::BFloat16>(0), cache->value_data<c10::BFloat16>(0), cache->layer_stride(),
                    static_cast<int32_t>(batch.begin(i)), static_cast<int32_t>(batch.length(i)),
                    static_cast<int32_t>(cache->length())});
  }
  return BytesOnCuda(rows, device);
}

cuda::CachedRows Rows(const Tensor& table, int64_t layer) {
  return {reinterpret_cast<const cuda::CachedRow*>(CudaData<uint8_t>(table)),
          table.numel() / static_cast<int64_t>(sizeof(cuda::CachedRow)), layer};
}

}  // namespace

bool CanAttendOnCuda(const AttentionShape& s, const Tensor& qkv) {
  return qkv.is_cuda() && qkv.scalar_type() == torch::kBFloat16 && qkv.stride(1) == 1 &&
         (s.head_dim == 64 || s.head_dim == 128 || s.head_dim == 256);
}

void AppendToCachesOnCuda(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv) {
  // The first layer of a pass has given all caches their room, and they advance after the last.
  if (layer == 0) batch.device_caches = CacheTable(batch, qkv.device());
  if (batch.device_caches.numel() == 0) return;
  const LaunchScope stream(qkv);
  C10_CUDA_CHECK(cuda::AppendToCaches(CudaData<__nv_bfloat16>(qkv), qkv.stride(0), s.heads * s.head_dim,
                                      s.kv_heads * s.head_dim, Rows(batch.device_caches, layer), LongestSegment(batch),
                                      stream));
}

void FlashAttention(const AttentionShape& s, const PackedBatch& batch, const Tensor& qkv, Tensor& out) {
  out.unflatten(1, {s.heads, s.head_dim}).copy_(Flash(s, batch, SplitHeads(s, qkv)).out);
}

// The softmax's sums are made again by another forward pass rather than stored.
void FlashAttentionBackward(const AttentionShape& s, const PackedBatch& batch, const Tensor& qkv,
                            const Tensor& grad_out, Tensor& grad_qkv) {
  const Heads heads = SplitHeads(s, qkv);
  const FlashResult forward = Flash(s, batch, heads);
  const Tensor& offsets = batch.OffsetsOn(qkv.device());
  const int64_t longest = LongestSegment(batch);
  const auto [grad_q, grad_k, grad_v] = at::_flash_attention_backward(
      grad_out.unflatten(1, {s.heads, s.head_dim}), heads.q, heads.k, heads.v, forward.out, forward.log_sum_exp, offsets,
      offsets, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/true, forward.rng_state, forward.unused, s.scale,
      Reach(s), s.window > 0 ? std::optional<int64_t>(0) : std::nullopt);
  const Heads into = SplitHeads(s, grad_qkv);
  into.q.copy_(grad_q);
  into.k.copy_(grad_k);
  into.v.copy_(grad_v);
}

void DecodeAttentionOnCuda(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv,
                           Tensor& out) {
  const cuda::DecodeShape shape = {static_cast<int32_t>(s.heads),    static_cast<int32_t>(s.kv_heads),
                                   static_cast<int32_t>(s.head_dim), static_cast<float>(s.scale),
                                   static_cast<float>(s.softcap),    static_cast<int32_t>(s.window)};
  const LaunchScope stream(qkv);
  C10_CUDA_CHECK(cuda::AttendToCaches(shape, CudaData<__nv_bfloat16>(qkv), qkv.stride(0),
                                      Rows(batch.device_caches, layer), CudaData<__nv_bfloat16>(out), out.stride(0),
                                      stream));
}

#else

bool CanAttendOnCuda(const AttentionShape&, const Tensor&) { return false; }
void AppendToCachesOnCuda(const AttentionShape&, const PackedBatch&, int64_t, const Tensor&) {}
void FlashAttention(const AttentionShape&, const PackedBatch&, const Tensor&, Tensor&) {}
void FlashAttentionBackward(const AttentionShape&, const PackedBatch&, const Tensor&, const Tensor&, Tensor&) {}
void DecodeAttentionOnCuda(const AttentionShape&, const PackedBatch&, int64_t, const Tensor&, Tensor&) {}

#endif

}  // namespace elrea
