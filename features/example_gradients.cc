// On the way back each segment's two small products are formed and handed out: in bf16 with f32 sums by our own loops
// where the processor has them, else in f32 by the library; on other devices those of all segments in one launch.
#include "features/example_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/joined_rows.h"
#include "model/parallel_tasks.h"

namespace elrea {

using torch::Tensor;

ExampleGradients::ExampleGradients(std::vector<const LoraWeights*> lora_of_segment, GradientSink sink)
    : lora_of_segment_(std::move(lora_of_segment)), sink_(std::move(sink)), hidden_(layout().num_layers()) {}

ExampleGradients::ExampleGradients(std::vector<const LoraWeights*> lora_of_segment, BatchSink sink)
    : lora_of_segment_(std::move(lora_of_segment)), batch_sink_(std::move(sink)), hidden_(layout().num_layers()) {}

AdapterRuns ExampleGradients::Runs(const PackedBatch& batch) const {
  AdapterRuns runs;
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    if (runs.empty() || runs.back().lora != lora_of_segment_[s]) {
      runs.push_back({lora_of_segment_[s], batch.begin(s), batch.begin(s)});
    }
    runs.back().end = batch.offsets[s + 1];
  }
  return runs;
}

void ExampleGradients::AddForward(int64_t layer, LinearGroup id, const PackedBatch& batch, const Tensor& x, Tensor& y) {
  if (layout().group(layer, id).slots.empty()) return;
  hidden_[layer][static_cast<int>(id)] = LowRankForward(Runs(batch), layer, id, x, y);
}

void ExampleGradients::AddBackward(int64_t layer, LinearGroup id, const PackedBatch& batch, const Tensor& x,
                                   const Tensor& grad_y, Tensor& grad_x) {
  const AdapterLayout::Group& slots = layout().group(layer, id);
  if (slots.slots.empty()) return;
  const AdapterRuns runs = Runs(batch);
  Tensor grad_h = LowRankGradient(runs, layer, id, grad_y);
  if (grad_x.defined()) AddLowRankInputGradient(runs, layer, id, grad_h, grad_x);
  Emit(slots, batch, {x, grad_y, TakeHidden(layer, id, batch), grad_h});
}

Tensor ExampleGradients::TakeHidden(int64_t layer, LinearGroup group, const PackedBatch& batch) {
  const auto g = static_cast<size_t>(group);
  Tensor hidden = std::move(hidden_[layer][g]);
  if (beginnings_.empty()) return hidden;
  std::vector<const Tensor*> before;
  for (const ExampleGradients* b : beginnings_) before.push_back(b ? &b->hidden_[layer][g] : nullptr);
  return JoinRows(before, hidden, batch);
}

void ExampleGradients::Emit(const AdapterLayout::Group& slots, const PackedBatch& batch, const SegmentRows& all) {
  const float scale = lora_of_segment_[0]->scale();
  if (!all.x.is_cpu()) {
    if (!batched_) batched_.emplace(batch, all.x.device());
    return batched_->Emit(slots, layout().rank(), scale, all, [&](int64_t begin, const Tensor& gradients) {
      if (batch_sink_) return batch_sink_(begin, gradients);
      const Tensor host = gradients.cpu();
      for (int64_t i = 0; i < host.size(0); ++i) sink_(i, begin, host.size(1), host.data_ptr<float>() + i * host.size(1));
    });
  }
  const SegmentGradients gradients(slots, layout().rank(), scale);
  ForEachTask(batch.num_segments(), [&](int64_t i) {
    auto rows = [&](const Tensor& t) { return t.narrow(0, batch.begin(i), batch.length(i)); };
    gradients.Emit({rows(all.x), rows(all.grad_y), rows(all.h), rows(all.grad_h)},
                   [&](int64_t begin, int64_t count, const float* grad) { sink_(i, begin, count, grad); });
  });
}

}  // namespace elrea
