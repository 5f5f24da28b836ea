#include "lora/low_rank_rows.h"

#include <ATen/Parallel.h>

#include "model/simd.h"

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;
using torch::Tensor;

namespace {

// h[j] = a[j] . x for `rows` rows of a [rows, in], four at a time to hide the latency of the sums.
template <typename T>
void RowDots(const T* x, const T* a, int64_t rows, int64_t in, float* h) {
  int64_t j = 0;
  for (; j + 4 <= rows; j += 4) {
    Vec d[4] = {};
    for (int64_t i = 0; i < in; i += kLanes) {
      Vec v = Load(x + i);
      for (int r = 0; r < 4; ++r) d[r] += v * Load(a + (j + r) * in + i);
    }
    for (int r = 0; r < 4; ++r) h[j + r] = simd::Sum(d[r]);
  }
  for (; j < rows; ++j) {
    Vec d = Splat(0);
    for (int64_t i = 0; i < in; i += kLanes) d += Load(x + i) * Load(a + j * in + i);
    h[j] = simd::Sum(d);
  }
}

template <typename T>
void AddOuter(const float* h, const float* b_t, int64_t rank, int64_t out, float scale, T* y) {
  for (int64_t i = 0; i < out; i += kLanes) {
    Vec total = Splat(0);
    for (int64_t j = 0; j < rank; ++j) total += h[j] * Load(b_t + j * out + i);
    Store(y + i, Load(y + i) + total * scale);
  }
}

template <typename T>
void AddRows(const std::vector<LowRankRow>& rows, int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) {
  const T* in_rows = x.data_ptr<T>();
  T* out_rows = y.data_ptr<T>();
  at::parallel_for(0, static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> h;
    for (int64_t k = begin; k < end; ++k) {
      const LoraWeights& lora = *rows[k].lora;
      const AdapterLayout::Group& group = lora.layout().group(layer, id);
      if (group.slots.empty()) continue;
      const LoraWeights::Group& w = lora.group(layer, id);
      int64_t rank = lora.layout().rank();
      h.resize(group.slots.size() * rank);
      RowDots(in_rows + rows[k].row * x.size(1), w.a.template data_ptr<T>(), static_cast<int64_t>(h.size()), group.in, h.data());
      for (size_t s = 0; s < group.slots.size(); ++s) {
        AddOuter(&h[s * rank], w.b_t_f32[s].template data_ptr<float>(), rank, group.slots[s].out, lora.scale(),
                 out_rows + rows[k].row * y.size(1) + group.slots[s].out_first);
      }
    }
  });
}

}  // namespace

bool CanAddLowRankRows(const Tensor& x, const Tensor& y) {
  return x.is_cpu() && x.is_contiguous() && y.is_contiguous() && x.size(1) % kLanes == 0 && y.size(1) % kLanes == 0;
}

void AddLowRankRows(const std::vector<LowRankRow>& rows, int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) {
  if (x.scalar_type() == torch::kFloat) {
    AddRows<float>(rows, layer, id, x, y);
  } else {
    AddRows<c10::BFloat16>(rows, layer, id, x, y);
  }
}

}  // namespace elrea
