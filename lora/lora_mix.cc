// y[rows of s] += scale_s (x[rows of s] A_s^T) B_s^T. Long runs of rows under one adapter use matrix products; a few
// rows (decoding) go through one fused loop over rows, since a dispatch costs more than their arithmetic.
#include "lora/lora_mix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/error.h"
#include "model/kernels.h"

namespace elrea {

using torch::Tensor;

namespace {

// Ranges of fewer rows are added row by row. A GPU works on all rows at once, and each range would be several launches.
constexpr int64_t kFusedRows = 8, kCudaFusedRows = 2048;

void AddRange(const LoraWeights& lora, int64_t layer, LinearGroup id, const Tensor& x, Tensor& y, int64_t begin,
              int64_t end) {
  const AdapterLayout::Group& slots = lora.layout().group(layer, id);
  if (slots.slots.empty()) return;
  const LoraWeights::Group& w = lora.group(layer, id);
  Tensor h = at::mm(x.narrow(0, begin, end - begin), w.a.t()).to(torch::kFloat);  // [rows, slots * rank]
  if (const Gate* gate = lora.gate()) gate->Scale(gate->Shares(layer, id, x.narrow(0, begin, end - begin)), h);
  Tensor rows = y.narrow(0, begin, end - begin);
  for (size_t s = 0; s < slots.slots.size(); ++s) {
    AddLowRank(rows, slots.slots[s].out_first, h, static_cast<int64_t>(s) * lora.layout().rank(), w.b_t_f32[s],
               lora.scale(), 0, end - begin);
  }
}

}  // namespace

void LoraMix::AddForward(int64_t layer, LinearGroup id, const PackedBatch& batch, const Tensor& x, Tensor& y) {
  std::vector<LowRankRow> few;
  const int64_t fused_rows = x.is_cuda() ? kCudaFusedRows : kFusedRows;
  int64_t segments = batch.num_segments();
  for (int64_t s = 0; s < segments;) {
    int64_t last = s;  // consecutive segments under one adapter are one range of rows
    while (last + 1 < segments && adapter_of_segment_[last + 1] == adapter_of_segment_[s]) ++last;
    const LoraWeights* lora = adapter_of_segment_[s];
    int64_t begin = batch.offsets[s], end = batch.offsets[last + 1];
    if (lora && !lora->gate() && end - begin < fused_rows && CanAddLowRankRows(*lora, x, y)) {
      for (int64_t row = begin; row < end; ++row) few.push_back({lora, row});
    } else if (lora) {
      AddRange(*lora, layer, id, x, y, begin, end);
    }
    s = last + 1;
  }
  if (few.empty()) return;
  if (!few_ || few_->rows() != few) few_.emplace(std::move(few), x.device());
  few_->Add(layer, id, x, y);
}

}  // namespace elrea
