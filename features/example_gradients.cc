// On the way back each segment's two small products are formed and handed out: in bf16 with f32 sums by our own loops
// where the processor has them, else in f32 by the library.
#include "features/example_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "features/segment_gradients.h"
#include "model/parallel_tasks.h"

namespace elrea {

using torch::Tensor;

ExampleGradients::ExampleGradients(std::vector<const LoraWeights*> lora_of_segment, GradientSink sink)
    : lora_of_segment_(std::move(lora_of_segment)), sink_(std::move(sink)), hidden_(layout().num_layers()) {}

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
  Tensor& h = hidden_[layer][static_cast<int>(id)];
  const SegmentGradients gradients(slots, layout().rank(), lora_of_segment_[0]->scale());
  ForEachTask(batch.num_segments(), [&](int64_t i) {
    auto rows = [&](const Tensor& t) { return t.narrow(0, batch.begin(i), batch.length(i)); };
    gradients.Emit({rows(x), rows(grad_y), rows(h), rows(grad_h)},
                   [&](int64_t begin, int64_t count, const float* grad) { sink_(i, begin, count, grad); });
  });
  h.reset();
}

}  // namespace elrea
