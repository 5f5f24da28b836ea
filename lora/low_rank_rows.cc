#include "lora/low_rank_rows.h"

#include <ATen/Parallel.h>

#include <utility>

#include "model/low_rank.h"
#ifdef ELREA_CUDA
#include <algorithm>
#include <unordered_map>

#include "lora/low_rank_rows_cuda.h"
#include "model/cuda_glue.h"
#endif

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
      RowDots<T>({in_rows + rows[k].row * x.size(1), 0}, 1, w.a.template data_ptr<T>(), static_cast<int64_t>(h.size()),
                 group.in, {h.data(), 0});
      for (size_t s = 0; s < group.slots.size(); ++s) {
        const auto& slot = group.slots[s];
        AddOuter<float, T>({&h[s * rank], 0}, 1, w.b_t_f32[s].template data_ptr<float>(), slot.out, rank, slot.out,
                           lora.scale(), {out_rows + rows[k].row * y.size(1) + slot.out_first, 0});
      }
    }
  });
}

}  // namespace

#ifdef ELREA_CUDA
namespace {

cuda::LowRankEntry EntryOf(const LoraWeights& lora, int64_t layer, LinearGroup id) {
  const AdapterLayout::Group& group = lora.layout().group(layer, id);
  cuda::LowRankEntry entry = {};  // no slots: nothing is added
  if (group.slots.empty()) return entry;
  const LoraWeights::Group& w = lora.group(layer, id);
  entry.a = w.a.data_ptr();
  entry.rank = static_cast<int32_t>(lora.layout().rank());
  entry.num_slots = static_cast<int32_t>(group.slots.size());
  entry.scale = lora.scale();
  for (size_t s = 0; s < group.slots.size(); ++s) {
    entry.slots[s] = {w.b_t[s].data_ptr(), static_cast<int32_t>(group.slots[s].out_first),
                      static_cast<int32_t>(group.slots[s].out)};
  }
  return entry;
}

}  // namespace

void LowRankRows::MakeTable(torch::Device device) {
  std::unordered_map<const LoraWeights*, int32_t> index_of;
  std::vector<const LoraWeights*> adapters;
  std::vector<cuda::LowRankPlace> places;
  for (const LowRankRow& row : rows_) {
    const auto [it, is_new] = index_of.try_emplace(row.lora, static_cast<int32_t>(adapters.size()));
    if (is_new) adapters.push_back(row.lora);
    places.push_back({static_cast<int32_t>(row.row), it->second});
  }
  num_adapters_ = static_cast<int64_t>(adapters.size());
  std::vector<cuda::LowRankEntry> entries;
  for (int64_t layer = 0; layer < rows_[0].lora->layout().num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      int64_t most = 0;
      for (const LoraWeights* lora : adapters) {
        const cuda::LowRankEntry& entry = entries.emplace_back(EntryOf(*lora, layer, static_cast<LinearGroup>(g)));
        most = std::max(most, int64_t{entry.num_slots} * entry.rank);
      }
      max_hidden_.push_back(most);
    }
  }
  entries_ = BytesOnCuda(entries, device);
  places_ = BytesOnCuda(places, device);
}

void LowRankRows::AddOnCuda(int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) const {
  const int64_t group = layer * kNumLinearGroups + static_cast<int>(id);
  if (max_hidden_[group] == 0) return;
  const auto* entries = reinterpret_cast<const cuda::LowRankEntry*>(CudaData<uint8_t>(entries_));
  const auto* places = reinterpret_cast<const cuda::LowRankPlace*>(CudaData<uint8_t>(places_));
  const LaunchScope stream(x);
  ELREA_DISPATCH_CUDA(x.scalar_type(), "AddLowRankRows", {
    C10_CUDA_CHECK(cuda::AddLowRankRows<T>({.entries = entries + group * num_adapters_,
                                            .places = places,
                                            .num_places = static_cast<int64_t>(rows_.size()),
                                            .x = CudaData<T>(x),
                                            .y = CudaData<T>(y),
                                            .in = x.size(1),
                                            .y_width = y.size(1),
                                            .max_hidden = max_hidden_[group]},
                                           stream));
  });
}
#endif

bool CanAddLowRankRows([[maybe_unused]] const LoraWeights& lora, const Tensor& x, const Tensor& y) {
  if (!x.is_contiguous() || !y.is_contiguous()) return false;
#ifdef ELREA_CUDA
  if (x.is_cuda()) return lora.layout().rank() * cuda::LowRankEntry::kMaxSlots <= cuda::kMaxHidden;
#endif
  return x.is_cpu() && x.size(1) % kLanes == 0 && y.size(1) % kLanes == 0;
}

LowRankRows::LowRankRows(std::vector<LowRankRow> rows, [[maybe_unused]] torch::Device device) : rows_(std::move(rows)) {
#ifdef ELREA_CUDA
  if (device.is_cuda() && !rows_.empty()) MakeTable(device);
#endif
}

void LowRankRows::Add(int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) const {
#ifdef ELREA_CUDA
  if (x.is_cuda()) return AddOnCuda(layer, id, x, y);
#endif
  if (x.scalar_type() == torch::kFloat) {
    AddRows<float>(rows_, layer, id, x, y);
  } else {
    AddRows<c10::BFloat16>(rows_, layer, id, x, y);
  }
}

}  // namespace elrea
