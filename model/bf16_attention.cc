// Queries are taken kBlock at a time, and only the keys such a block can see are multiplied. Equations: attention.cc;
// the gradients of keys and values are summed transposed, [head_dim, keys], so that a block of probabilities is the
// packed operand as it stands and only [kBlock, head_dim] blocks are turned.
#include "model/bf16_attention.h"

#include <algorithm>
#include <vector>

#include "model/bf16_products.h"
#include "model/decode_attention.h"
#include "model/simd.h"

namespace elrea {

using c10::BFloat16;
using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;
using torch::Tensor;

namespace {

constexpr int64_t kBlock = 64;

// Rows of one head in a wider tensor.
struct HeadRows {
  BFloat16* data;
  int64_t stride;
  BFloat16* row(int64_t i) const { return data + i * stride; }
};
HeadRows Head(const Tensor& rows, int64_t column) { return {rows.data_ptr<BFloat16>() + column, rows.stride(0)}; }

// Buffers of one thread, kept between tasks.
struct Scratch {
  std::vector<BFloat16> keys_t, values, values_t, keys, p, grad_s, packed, turned;
  std::vector<float> scores, slope, grad_p, out, grad_k_t, grad_v_t;
};
Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

// The keys a block of queries can see, widened to whole vectors: [begin, end).
struct Visible {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Visible VisibleKeys(const AttentionShape& s, int64_t first_position, int64_t length) {
  const int64_t begin = s.window > 0 ? std::max<int64_t>(0, first_position - s.window + 1) : 0;
  return {begin / kLanes * kLanes, PackedWidth(first_position + length)};
}

// scores [visible.size()] of the query at `position` become probabilities, zero where it cannot see.
void Softmax(const AttentionShape& s, float scale, float* scores, Visible visible, int64_t position, BFloat16* p) {
  const int64_t first = s.window > 0 ? std::max<int64_t>(0, position - s.window + 1) : 0;
  const int64_t begin = std::max<int64_t>(0, first - visible.begin), end = position + 1 - visible.begin;
  std::fill(scores, scores + begin, -INFINITY);
  std::fill(scores + end, scores + visible.size(), -INFINITY);
  Vec best = Splat(-INFINITY), total = Splat(0);
  for (int64_t i = 0; i < visible.size(); i += kLanes) {
    Vec v = Load(scores + i);
    best = v > best ? v : best;
  }
  const float top = simd::Max(best);
  for (int64_t i = 0; i < visible.size(); i += kLanes) {
    Vec v = Load(scores + i), e = simd::Exp((v - top) * scale);
    e = v > -1e37f ? e : Vec{};
    total += e;
    Store(scores + i, e);
  }
  const float inverse = 1.0f / simd::Sum(total);
  for (int64_t i = 0; i < visible.size(); i += kLanes) Store(p + i, Load(scores + i) * inverse);
}

// scores, `size` of them, become cap tanh(scale * score / cap); slope receives the derivative 1 - (score / cap)^2.
void Softcap(const AttentionShape& s, float* scores, int64_t size, float* slope) {
  const auto cap = static_cast<float>(s.softcap);
  SoftcapScores(scores, size, static_cast<float>(s.scale), cap);
  for (int64_t i = 0; i < size; i += kLanes) {
    const Vec t = Load(scores + i) * (1 / cap);
    Store(slope + i, 1.0f - t * t);
  }
}

// Probabilities [length, visible.size()] bf16 of queries first.. of one head; keys packed transposed. With a soft-cap,
// scratch.slope holds its derivative at each score.
BFloat16* Probabilities(const AttentionShape& s, HeadRows q, int64_t length, int64_t first_position, Visible visible,
                        PackedOperand keys_t, Scratch& scratch) {
  const int64_t n = visible.size();
  float* scores = Sized(scratch.scores, length * n);
  BFloat16* p = Sized(scratch.p, length * n);
  MultiplyPacked(q.data, q.stride, length, s.head_dim / 2, {keys_t.data + 2 * visible.begin, keys_t.width}, n, scores, n,
                 /*accumulate=*/false);
  const bool capped = s.softcap > 0;
  if (capped) Softcap(s, scores, length * n, Sized(scratch.slope, length * n));
  const float scale = capped ? 1.0f : static_cast<float>(s.scale);
  for (int64_t i = 0; i < length; ++i) Softmax(s, scale, scores + i * n, visible, first_position + i, p + i * n);
  return p;
}

void StoreRows(const float* from, int64_t length, int64_t width, HeadRows to) {
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < width; d += kLanes) Store(to.row(i) + d, Load(from + i * width + d));
  }
}

// rows [length, head_dim] -> [head_dim, kBlock], zero from `length` on.
void Turn(HeadRows rows, int64_t length, int64_t head_dim, BFloat16* turned) {
  for (int64_t d = 0; d < head_dim; ++d) {
    for (int64_t i = 0; i < kBlock; ++i) turned[d * kBlock + i] = i < length ? rows.row(i)[d] : BFloat16(0);
  }
}

// sum_t [head_dim, width] [:, visible] += rows^T block, with block [length, visible.size()] bf16.
void AddTransposedProduct(HeadRows rows, int64_t length, int64_t head_dim, const BFloat16* block, Visible visible,
                          float* sum_t, int64_t width, Scratch& scratch) {
  const int64_t n = visible.size(), pairs = (length + 1) / 2;
  BFloat16* turned = Sized(scratch.turned, head_dim * kBlock);
  BFloat16* packed = Sized(scratch.packed, 2 * pairs * n);
  Turn(rows, length, head_dim, turned);
  PackRowPairs(block, n, length, n, packed);
  MultiplyPacked(turned, kBlock, head_dim, pairs, {packed, n}, n, sum_t + visible.begin, width, /*accumulate=*/true);
}

// grad_s = scale p (grad_p - rowsum(grad_o o)), times the slope of a soft-cap (null: none), in bf16.
void ScoreGradient(const AttentionShape& s, const BFloat16* p, const float* grad_p, HeadRows o, HeadRows grad_o,
                   int64_t length, int64_t n, const float* slope, BFloat16* grad_s) {
  for (int64_t i = 0; i < length; ++i) {
    Vec dot = Splat(0);
    for (int64_t d = 0; d < s.head_dim; d += kLanes) dot += Load(o.row(i) + d) * Load(grad_o.row(i) + d);
    const float delta = simd::Sum(dot), scale = static_cast<float>(s.scale);
    for (int64_t j = i * n; j < (i + 1) * n; j += kLanes) {
      const Vec through = slope == nullptr ? Splat(scale) : Load(slope + j) * scale;
      Store(grad_s + j, Load(p + j) * (Load(grad_p + j) - delta) * through);
    }
  }
}

void StoreTransposed(const float* sum_t, int64_t width, int64_t length, int64_t head_dim, HeadRows to) {
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < head_dim; ++d) to.row(i)[d] = static_cast<BFloat16>(sum_t[d * width + i]);
  }
}

}  // namespace

bool CanAttendBf16(const AttentionShape& s, const Tensor& qkv) {
  return HasBf16Products() && qkv.is_cpu() && qkv.scalar_type() == torch::kBFloat16 && s.head_dim % kLanes == 0;
}

void AttendBf16(const AttentionShape& s, const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t past,
                int64_t kv_head, Tensor out) {
  Scratch& scratch = ThreadScratch();
  const int64_t total = keys.size(0), width = PackedWidth(total), dim = s.head_dim, group = s.heads / s.kv_heads;
  const HeadRows k = Head(keys, kv_head * dim), v = Head(values, kv_head * dim);
  const PackedOperand keys_t{Sized(scratch.keys_t, width * dim), width};
  BFloat16* packed_values = Sized(scratch.values, width * dim);
  PackTransposed(k.data, k.stride, total, dim, scratch.keys_t.data());
  PackRowPairs(v.data, v.stride, total, dim, packed_values);
  std::fill(packed_values + (total + 1) / 2 * 2 * dim, packed_values + width * dim, BFloat16(0));
  float* block = Sized(scratch.out, kBlock * dim);
  for (int64_t begin = 0; begin < queries.size(0); begin += kBlock) {
    const int64_t length = std::min(kBlock, queries.size(0) - begin);
    const Visible visible = VisibleKeys(s, past + begin, length);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const HeadRows q = Head(queries, head * dim), o = Head(out, head * dim);
      const BFloat16* p =
          Probabilities(s, {q.row(begin), q.stride}, length, past + begin, visible, keys_t, scratch);
      MultiplyPacked(p, visible.size(), length, visible.size() / 2, {packed_values + visible.begin * dim, dim}, dim,
                     block, dim, /*accumulate=*/false);
      StoreRows(block, length, dim, {o.row(begin), o.stride});
    }
  }
}

void AttendBackwardBf16(const AttentionShape& s, const Tensor& qkv, const Tensor& out, const Tensor& grad_out,
                        int64_t kv_head, Tensor grad_qkv) {
  Scratch& scratch = ThreadScratch();
  const int64_t total = qkv.size(0), width = PackedWidth(total), dim = s.head_dim, group = s.heads / s.kv_heads;
  const int64_t k_first = (s.heads + kv_head) * dim, v_first = k_first + s.kv_heads * dim;
  const HeadRows k = Head(qkv, k_first), v = Head(qkv, v_first);
  const PackedOperand keys_t{Sized(scratch.keys_t, width * dim), width};
  const PackedOperand values_t{Sized(scratch.values_t, width * dim), width};
  BFloat16* keys = Sized(scratch.keys, width * dim);
  PackTransposed(k.data, k.stride, total, dim, scratch.keys_t.data());
  PackTransposed(v.data, v.stride, total, dim, scratch.values_t.data());
  PackRowPairs(k.data, k.stride, total, dim, keys);
  std::fill(keys + (total + 1) / 2 * 2 * dim, keys + width * dim, BFloat16(0));
  float *grad_k_t = Sized(scratch.grad_k_t, dim * width), *grad_v_t = Sized(scratch.grad_v_t, dim * width);
  std::fill(grad_k_t, grad_k_t + dim * width, 0.0f);
  std::fill(grad_v_t, grad_v_t + dim * width, 0.0f);
  float* grad_q = Sized(scratch.out, kBlock * dim);
  for (int64_t begin = 0; begin < total; begin += kBlock) {
    const int64_t length = std::min(kBlock, total - begin);
    const Visible visible = VisibleKeys(s, begin, length);
    const int64_t n = visible.size();
    float* grad_p = Sized(scratch.grad_p, length * n);
    BFloat16* grad_s = Sized(scratch.grad_s, length * n);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const auto rows = [&](const Tensor& t) { return HeadRows{Head(t, head * dim).row(begin), t.stride(0)}; };
      const HeadRows q = rows(qkv), o = rows(out), grad_o = rows(grad_out);
      const BFloat16* p = Probabilities(s, q, length, begin, visible, keys_t, scratch);
      AddTransposedProduct(grad_o, length, dim, p, visible, grad_v_t, width, scratch);
      MultiplyPacked(grad_o.data, grad_o.stride, length, dim / 2, {values_t.data + 2 * visible.begin, width}, n, grad_p, n,
                     /*accumulate=*/false);
      ScoreGradient(s, p, grad_p, o, grad_o, length, n, s.softcap > 0 ? scratch.slope.data() : nullptr, grad_s);
      AddTransposedProduct(q, length, dim, grad_s, visible, grad_k_t, width, scratch);
      MultiplyPacked(grad_s, n, length, n / 2, {keys + visible.begin * dim, dim}, dim, grad_q, dim,
                     /*accumulate=*/false);
      StoreRows(grad_q, length, dim, rows(grad_qkv));
    }
  }
  StoreTransposed(grad_k_t, width, total, dim, Head(grad_qkv, k_first));
  StoreTransposed(grad_v_t, width, total, dim, Head(grad_qkv, v_first));
}

}  // namespace elrea
