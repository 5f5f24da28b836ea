#include "lora/low_rank_rows.h"

#include <ATen/Parallel.h>

#include "model/low_rank.h"

namespace elrea {

using simd::kLanes;
using torch::Tensor;

namespace {

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
        const auto& slot = group.slots[s];
        AddOuter(&h[s * rank], w.b_t_f32[s].template data_ptr<float>(), slot.out, rank, slot.out, lora.scale(),
                 out_rows + rows[k].row * y.size(1) + slot.out_first);
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
