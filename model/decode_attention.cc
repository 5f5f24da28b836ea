// See decode_attention.h. Parallel over (segment, kv head): the heads of a group share each key and value as it is read.
#include "model/decode_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "model/decode_kernels.h"
#include "model/kv_cache.h"
#include "model/simd_range.h"

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;
using torch::Tensor;

namespace {

// Keys and values that a loop will need this many positions later are asked for now: the heads of a position lie side by side,
// so that a head's own are in pieces that the processor does not foresee.
constexpr int64_t kAhead = 8;

// scores[g * n + j] = q_g . key_j for keys [0, n) of one kv head. A key is read, and widened, once for the heads of the
// group; four keys at a time, as adding across lanes costs as much as the products.
template <int Group, typename T, typename Q>
void ScoreKeys(const Q* q, const T* keys, int64_t key_stride, int64_t head_dim, int64_t n, float* scores) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    const T* key = keys + j * key_stride;
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) Prefetch(key + (kAhead + c) * key_stride, 0, head_dim);
    Vec dots[Group][4] = {};
    for (int64_t i = 0; i < head_dim; i += kLanes) {
      Vec k[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) k[c] = Load(key + c * key_stride + i);
#pragma GCC unroll 4
      for (int g = 0; g < Group; ++g) {
        const Vec query = Load(q + g * head_dim + i);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) dots[g][c] += query * k[c];
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < Group; ++g) {
      const simd::Quad sums = simd::Sum4(dots[g][0], dots[g][1], dots[g][2], dots[g][3]);
      std::memcpy(scores + g * n + j, &sums, sizeof sums);
    }
  }
  for (; j < n; ++j) {
    const T* key = keys + j * key_stride;
    for (int g = 0; g < Group; ++g) {
      Vec dot = Splat(0);
      for (int64_t i = 0; i < head_dim; i += kLanes) dot += Load(q + g * head_dim + i) * Load(key + i);
      scores[g * n + j] = simd::Sum(dot);
    }
  }
}

// out_g = sum_j p[g * n + j] value_j, for columns [0, Columns * 16). The sums of all heads and columns stay in registers
// and hide each other's latency.
template <int Group, int Columns, typename T, typename Q>
void MixColumns(const float* p, const T* values, int64_t value_stride, int64_t head_dim, int64_t n, Q* out) {
  Vec sums[Group][Columns] = {};
  for (int64_t j = 0; j < n; ++j) {
    Prefetch(values + (j + kAhead) * value_stride, 0, Columns * kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
      const Vec v = Load(values + j * value_stride + c * kLanes);
#pragma GCC unroll 4
      for (int g = 0; g < Group; ++g) sums[g][c] += p[g * n + j] * v;
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < Group; ++g) {
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) Store(out + g * head_dim + c * kLanes, sums[g][c]);
  }
}

template <int Group, typename T, typename Q>
void MixValues(const float* p, const T* values, int64_t value_stride, int64_t head_dim, int64_t n, Q* out) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= head_dim; i += 4 * kLanes) {
    MixColumns<Group, 4>(p, values + i, value_stride, head_dim, n, out + i);
  }
  for (; i < head_dim; i += kLanes) MixColumns<Group, 1>(p, values + i, value_stride, head_dim, n, out + i);
}

// Heads of a group that are worked on together.
constexpr int64_t kMostHeads = 4;

}  // namespace

void SoftmaxRow(float* row, int64_t size, int64_t begin, int64_t end, float scale) {
  const float best = simd::Largest({row + begin, row + end});
  std::fill(row, row + begin, 0.0f);
  std::fill(row + end, row + size, 0.0f);
  Vec total = Splat(0);
  float tail = 0;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    Vec e = simd::Exp((Load(row + i) - best) * scale);
    Store(row + i, e);
    total += e;
  }
  for (; i < end; ++i) tail += row[i] = simd::Exp(Splat((row[i] - best) * scale))[0];
  const float inverse = 1.0f / (simd::Sum(total) + tail);
  for (i = begin; i + kLanes <= end; i += kLanes) Store(row + i, Load(row + i) * inverse);
  for (; i < end; ++i) row[i] *= inverse;
}

void SoftcapScores(float* scores, int64_t size, float scale, float cap) {
  const auto capped = [&](Vec x) { return (2.0f * simd::Sigmoid(x * (2 * scale / cap)) - 1.0f) * cap; };
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) Store(scores + i, capped(Load(scores + i)));
  for (; i < size; ++i) scores[i] = capped(Splat(scores[i]))[0];
}

bool CanDecodeFused(const AttentionShape& s, const Tensor& qkv) { return qkv.is_cpu() && s.head_dim % kLanes == 0; }

template <typename T, typename Q>
void AttendToCache(const AttentionShape& s, const KvCache& cache, int64_t layer, int64_t kv_head, const Q* q, Q* out,
                   std::vector<float>& scores) {
  int64_t group = s.heads / s.kv_heads, kv_width = s.kv_heads * s.head_dim;
  int64_t last = cache.length();  // the new token's position
  int64_t first = s.window > 0 ? std::max<int64_t>(0, last - s.window + 1) : 0;
  int64_t n = last + 1 - first, offset = first * kv_width + kv_head * s.head_dim;
  const T *keys = cache.key_data<T>(layer) + offset, *values = cache.value_data<T>(layer) + offset;
  for (int64_t g = 0; g < group; g += kMostHeads) {
    const int64_t heads = std::min(kMostHeads, group - g);
    scores.resize(heads * n);
    const auto attend = [&]<int Heads>() {
      ScoreKeys<Heads>(q + g * s.head_dim, keys, kv_width, s.head_dim, n, scores.data());
      float scale = static_cast<float>(s.scale);
      if (s.softcap > 0) {
        SoftcapScores(scores.data(), Heads * n, scale, static_cast<float>(s.softcap));
        scale = 1;
      }
      for (int h = 0; h < Heads; ++h) SoftmaxRow(&scores[h * n], n, 0, n, scale);
      MixValues<Heads>(scores.data(), values, kv_width, s.head_dim, n, out + g * s.head_dim);
    };
    switch (heads) {
      case 1: attend.template operator()<1>(); break;
      case 2: attend.template operator()<2>(); break;
      case 3: attend.template operator()<3>(); break;
      default: attend.template operator()<kMostHeads>();
    }
  }
}
template void AttendToCache<c10::BFloat16, float>(const AttentionShape&, const KvCache&, int64_t, int64_t,
                                                  const float*, float*, std::vector<float>&);

namespace {

template <typename T>
void DecodeRows(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv, Tensor& out) {
  int64_t group_width = s.heads / s.kv_heads * s.head_dim;
  const T* q = qkv.data_ptr<T>();
  T* o = out.data_ptr<T>();
  at::parallel_for(0, batch.num_segments() * s.kv_heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores;
    for (int64_t task = begin; task < end; ++task) {
      int64_t row = task / s.kv_heads, kv_head = task % s.kv_heads;
      AttendToCache<T, T>(s, *batch.caches[row], layer, kv_head, q + row * qkv.size(1) + kv_head * group_width,
                          o + row * out.size(1) + kv_head * group_width, scores);
    }
  });
}

}  // namespace

template void AttendToCache<float, float>(const AttentionShape&, const KvCache&, int64_t, int64_t, const float*, float*,
                                          std::vector<float>&);

void DecodeAttention(const AttentionShape& s, const PackedBatch& batch, int64_t layer, const Tensor& qkv, Tensor& out) {
  if (qkv.scalar_type() == torch::kFloat) {
    DecodeRows<float>(s, batch, layer, qkv, out);
  } else {
    DecodeRows<c10::BFloat16>(s, batch, layer, qkv, out);
  }
}

}  // namespace elrea
