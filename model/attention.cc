// Attention over packed segments. Work is cut into (segment, kv head) tasks; a task walks its queries in blocks of
// kQueryBlock positions and multiplies only the keys a block can see, so causality and windows save work. A task's
// result depends on nothing outside its segment: neither batch composition nor thread count changes it.
//
//   S = scale Q K^T (masked), P = softmax(S), O = P V
//   dV = P^T dO,  dS = P (dO V^T - rowsum(dO O)),  dQ = scale dS K,  dK = scale dS^T Q
//
// With a soft-cap S = cap tanh(scale Q K^T / cap), and dS is multiplied by 1 - (S / cap)^2.
#include "model/attention.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/error.h"
#include "model/bf16_attention.h"
#include "model/decode_attention.h"
#include "model/flash_attention.h"
#include "model/kv_cache.h"
#include "model/parallel_tasks.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr int64_t kQueryBlock = 256;

// Columns of qkv that belong to one kv head, as f32: q [group * length, head_dim] with the group outermost.
Tensor GatherQueries(const AttentionShape& s, const Tensor& rows, int64_t kv_head) {
  int64_t group = s.heads / s.kv_heads, length = rows.size(0);
  return rows.narrow(1, kv_head * group * s.head_dim, group * s.head_dim)
      .view({length, group, s.head_dim})
      .transpose(0, 1)
      .to(torch::kFloat)
      .reshape({group * length, s.head_dim});
}

// The inverse of GatherQueries: writes block [group * length, head_dim] f32 back into rows.
void ScatterQueries(const AttentionShape& s, const Tensor& block, int64_t kv_head, Tensor rows) {
  int64_t group = s.heads / s.kv_heads, length = rows.size(0);
  rows.narrow(1, kv_head * group * s.head_dim, group * s.head_dim)
      .view({length, group, s.head_dim})
      .copy_(block.view({group, length, s.head_dim}).transpose(0, 1));
}

// Keys a block of queries at absolute positions [first, last] can see: [begin, last].
int64_t FirstVisible(const AttentionShape& s, int64_t position) {
  return s.window > 0 ? std::max<int64_t>(0, position - s.window + 1) : 0;
}

// scores [group * length, keys] f32 of absolute key positions key_begin.. become probabilities; query i of the block
// is at first_position + i. `scale` is still to be applied.
void MaskAndSoftmax(const AttentionShape& s, double scale, Tensor& scores, int64_t length, int64_t first_position,
                    int64_t key_begin) {
  if (!scores.is_cpu()) {
    auto options = scores.options().dtype(torch::kLong);
    Tensor query = (torch::arange(length, options) + first_position).repeat({scores.size(0) / length}).unsqueeze(1);
    Tensor key = torch::arange(scores.size(1), options).unsqueeze(0) + key_begin;
    Tensor hidden = key > query;
    if (s.window > 0) hidden = hidden | (key <= query - s.window);
    scores = torch::softmax((scores * scale).masked_fill(hidden, -INFINITY), -1);
    return;
  }
  float* data = scores.data_ptr<float>();
  int64_t keys = scores.size(1);
  for (int64_t row = 0; row < scores.size(0); ++row) {
    int64_t position = first_position + row % length;
    SoftmaxRow(data + row * keys, keys, FirstVisible(s, position) - key_begin, position + 1 - key_begin,
               static_cast<float>(scale));
  }
}

// One block of queries against the keys it can see.
struct Block {
  int64_t begin, length;  // query rows inside the segment
  int64_t key_begin, num_keys;
};
Block MakeBlock(const AttentionShape& s, int64_t begin, int64_t length, int64_t past) {
  int64_t key_begin = FirstVisible(s, past + begin);
  return {begin, length, key_begin, past + begin + length - key_begin};
}

// With `slope` and a soft-cap, also the cap's derivative at each score.
Tensor BlockProbabilities(const AttentionShape& s, const Block& b, const Tensor& q, const Tensor& keys, int64_t past,
                          Tensor* slope = nullptr) {
  Tensor scores = at::mm(q, keys.narrow(0, b.key_begin, b.num_keys).t());  // [group * length, num_keys]
  double scale = s.scale;
  if (s.softcap > 0) {
    scores.mul_(s.scale / s.softcap).tanh_();
    if (slope) *slope = 1 - scores.square();
    scale = s.softcap;
  }
  MaskAndSoftmax(s, scale, scores, b.length, past + b.begin, b.key_begin);
  return scores;
}

void AttendTask(const AttentionShape& s, const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t past,
                int64_t kv_head, Tensor out) {
  Tensor k = keys.narrow(1, kv_head * s.head_dim, s.head_dim).to(torch::kFloat);
  Tensor v = values.narrow(1, kv_head * s.head_dim, s.head_dim).to(torch::kFloat);
  for (int64_t begin = 0; begin < queries.size(0); begin += kQueryBlock) {
    Block b = MakeBlock(s, begin, std::min(kQueryBlock, queries.size(0) - begin), past);
    Tensor q = GatherQueries(s, queries.narrow(0, b.begin, b.length), kv_head);
    Tensor p = BlockProbabilities(s, b, q, k, past);
    ScatterQueries(s, at::mm(p, v.narrow(0, b.key_begin, b.num_keys)), kv_head, out.narrow(0, b.begin, b.length));
  }
}

// Rows of one segment as seen by the backward pass.
struct SegmentGrad {
  Tensor qkv, out, grad_out, grad_qkv;
};

void BackwardTask(const AttentionShape& s, const SegmentGrad& g, int64_t kv_head) {
  int64_t length = g.qkv.size(0), q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  int64_t k_first = q_width + kv_head * s.head_dim, v_first = k_first + kv_width;
  Tensor k = g.qkv.narrow(1, k_first, s.head_dim).to(torch::kFloat);
  Tensor v = g.qkv.narrow(1, v_first, s.head_dim).to(torch::kFloat);
  Tensor grad_k = torch::zeros_like(k), grad_v = torch::zeros_like(v);
  for (int64_t begin = 0; begin < length; begin += kQueryBlock) {
    Block b = MakeBlock(s, begin, std::min(kQueryBlock, length - begin), /*past=*/0);
    Tensor q = GatherQueries(s, g.qkv.narrow(0, b.begin, b.length), kv_head);
    Tensor o = GatherQueries(s, g.out.narrow(0, b.begin, b.length), kv_head);
    Tensor grad_o = GatherQueries(s, g.grad_out.narrow(0, b.begin, b.length), kv_head);
    Tensor slope, p = BlockProbabilities(s, b, q, k, /*past=*/0, &slope);
    grad_v.narrow(0, b.key_begin, b.num_keys).addmm_(p.t(), grad_o);
    Tensor grad_s = at::mm(grad_o, v.narrow(0, b.key_begin, b.num_keys).t());
    grad_s.sub_((grad_o * o).sum(1, /*keepdim=*/true)).mul_(p).mul_(s.scale);
    if (slope.defined()) grad_s.mul_(slope);
    grad_k.narrow(0, b.key_begin, b.num_keys).addmm_(grad_s.t(), q);
    Tensor grad_q = at::mm(grad_s, k.narrow(0, b.key_begin, b.num_keys));
    ScatterQueries(s, grad_q, kv_head, g.grad_qkv.narrow(0, b.begin, b.length));
  }
  g.grad_qkv.narrow(1, k_first, s.head_dim).copy_(grad_k);
  g.grad_qkv.narrow(1, v_first, s.head_dim).copy_(grad_v);
}

// Runs task(segment, kv_head) for all pairs, on the CPU in parallel.
template <typename Task>
void ForEachHead(const AttentionShape& s, const PackedBatch& batch, bool parallel, Task task) {
  const int64_t num_tasks = batch.num_segments() * s.kv_heads;
  if (parallel) return ForEachTask(num_tasks, [&](int64_t i) { task(i / s.kv_heads, i % s.kv_heads); });
  for (int64_t i = 0; i < num_tasks; ++i) task(i / s.kv_heads, i % s.kv_heads);
}

void AppendToCaches(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv) {
  int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  for (int64_t i = 0; i < batch.num_segments(); ++i) {
    if (batch.cache(i) != nullptr) batch.cache(i)->Reserve(batch.cache(i)->length() + batch.length(i));
  }
  if (CanAttendOnCuda(s, qkv)) return AppendToCachesOnCuda(s, batch, layer, qkv);
  for (int64_t i = 0; i < batch.num_segments(); ++i) {
    if (batch.cache(i) == nullptr) continue;
    KvCache& cache = *batch.cache(i);
    Tensor rows = qkv.narrow(0, batch.begin(i), batch.length(i));
    cache.keys(layer).narrow(0, cache.length(), batch.length(i)).copy_(rows.narrow(1, q_width, kv_width));
    cache.values(layer).narrow(0, cache.length(), batch.length(i)).copy_(rows.narrow(1, q_width + kv_width, kv_width));
  }
}

void AttendHead(const AttentionShape& s, const PackedBatch& batch, int64_t layer, int64_t segment, int64_t kv_head,
                const Tensor& qkv, const Tensor& out) {
  const int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  const Tensor rows = qkv.narrow(0, batch.begin(segment), batch.length(segment));
  const KvCache* cache = batch.cache(segment);
  const int64_t past = cache ? cache->length() : 0, total = past + batch.length(segment);
  const Tensor keys = cache ? cache->keys(layer).narrow(0, 0, total) : rows.narrow(1, q_width, kv_width);
  const Tensor values = cache ? cache->values(layer).narrow(0, 0, total) : rows.narrow(1, q_width + kv_width, kv_width);
  Tensor result = out.narrow(0, batch.begin(segment), batch.length(segment));
  if (CanAttendBf16(s, qkv)) return AttendBf16(s, rows, keys, values, past, kv_head, result);
  AttendTask(s, rows, keys, values, past, kv_head, result);
}

// Rows with nothing before them by the flash kernels, which take all segments in one launch: the others' results there are
// written over. A token after a cache by the decoding kernel; more of them, and soft-capped scores, head by head.
void AttendOnCuda(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv, Tensor& out) {
  int64_t single = 0;
  std::vector<int64_t> other;
  for (int64_t i = 0; i < batch.num_segments(); ++i) {
    if (batch.cache(i) != nullptr && batch.length(i) == 1) {
      ++single;
    } else if (s.softcap > 0 || (batch.cache(i) != nullptr && batch.cache(i)->length() > 0)) {
      other.push_back(i);
    }
  }
  if (single + std::ssize(other) < batch.num_segments()) FlashAttention(s, batch, qkv, out);
  if (single > 0) DecodeAttentionOnCuda(s, batch, layer, qkv, out);
  for (int64_t i : other) {
    for (int64_t kv_head = 0; kv_head < s.kv_heads; ++kv_head) AttendHead(s, batch, layer, i, kv_head, qkv, out);
  }
}

}  // namespace

AttentionShape LayerAttention(const ModelConfig& c, int64_t layer) {
  bool slides = !c.layer_is_sliding.empty() && c.layer_is_sliding[layer];
  return {c.heads, c.kv_heads, c.head_dim, c.attention_scale, slides ? c.sliding_window : 0, c.attn_logit_softcap};
}

void Attention(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv, Tensor& out) {
  AppendToCaches(s, batch, layer, qkv);
  if (CanAttendOnCuda(s, qkv)) return AttendOnCuda(s, batch, layer, qkv, out);
  if (!batch.caches.empty() && batch.num_tokens() == batch.num_segments() && CanDecodeFused(s, qkv)) {
    return DecodeAttention(s, batch, layer, qkv, out);
  }
  ForEachHead(s, batch, qkv.is_cpu(),
              [&](int64_t i, int64_t kv_head) { AttendHead(s, batch, layer, i, kv_head, qkv, out); });
}

void AttentionBackward(const AttentionShape& s, const PackedBatch& batch, const Tensor& qkv, const Tensor& out,
                       const Tensor& grad_out, Tensor& grad_qkv) {
  if (CanAttendOnCuda(s, qkv) && s.softcap == 0) return FlashAttentionBackward(s, batch, qkv, grad_out, grad_qkv);
  ForEachHead(s, batch, qkv.is_cpu(), [&](int64_t i, int64_t kv_head) {
    auto rows = [&](const Tensor& t) { return t.narrow(0, batch.begin(i), batch.length(i)); };
    if (CanAttendBf16(s, qkv)) {
      return AttendBackwardBf16(s, rows(qkv), rows(out), rows(grad_out), kv_head, rows(grad_qkv));
    }
    BackwardTask(s, {rows(qkv), rows(out), rows(grad_out), rows(grad_qkv)}, kv_head);
  });
}

}  // namespace elrea
