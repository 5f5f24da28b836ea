#include "features/example_gradients.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "lora/lora_trainer.h"
#include "model/kernels.h"

namespace elrea {

using torch::Tensor;

ExampleGradients::ExampleGradients(const LoraWeights& lora, GradientSink sink)
    : lora_(lora), sink_(std::move(sink)), hidden_(lora.layout().num_layers()) {}

void ExampleGradients::AddForward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x, Tensor& y) {
  if (lora_.layout().group(layer, id).slots.empty()) return;
  hidden_[layer][static_cast<int>(id)] = LowRankForward(lora_, layer, id, x, y);
}

namespace {

// The rows of one segment in f32: products of a single row are too short for bf16 accumulation to be worth its error.
Tensor SegmentRows(const Tensor& t, const PackedBatch& batch, int64_t segment) {
  return t.narrow(0, batch.begin(segment), batch.length(segment)).to(torch::kFloat);
}

}  // namespace

void ExampleGradients::AddBackward(int64_t layer, LinearGroup id, const PackedBatch& batch, const Tensor& x,
                                   const Tensor& grad_y, Tensor& grad_x) {
  const AdapterLayout& layout = lora_.layout();
  const AdapterLayout::Group& slots = layout.group(layer, id);
  if (slots.slots.empty()) return;
  Tensor grad_h = LowRankGradient(lora_, layer, id, grad_y);
  if (grad_x.defined()) AddLowRank(grad_x, 0, grad_h, 0, lora_.group(layer, id).a_f32, 1.0f, 0, grad_x.size(0));
  Tensor& h = hidden_[layer][static_cast<int>(id)];
  auto segment_gradients = [&](int64_t begin, int64_t end) {
    at::NoGradGuard no_grad;
    for (int64_t i = begin; i < end; ++i) {
      Tensor grad_a = at::mm(SegmentRows(grad_h, batch, i).t(), SegmentRows(x, batch, i)).cpu();
      sink_(i, slots.a_offset, grad_a.numel(), grad_a.data_ptr<float>());
      Tensor grad_y_i = SegmentRows(grad_y, batch, i), h_i = SegmentRows(h, batch, i);
      for (size_t s = 0; s < slots.slots.size(); ++s) {
        const AdapterLayout::Slot& slot = slots.slots[s];
        Tensor grad_b = at::mm(grad_y_i.narrow(1, slot.out_first, slot.out).t(),
                               h_i.narrow(1, static_cast<int64_t>(s) * layout.rank(), layout.rank()));
        grad_b = grad_b.mul_(lora_.scale()).cpu();
        sink_(i, slot.b_offset, grad_b.numel(), grad_b.data_ptr<float>());
      }
    }
  };
  at::parallel_for(0, batch.num_segments(), 1, segment_gradients);
  h.reset();
}

}  // namespace elrea
