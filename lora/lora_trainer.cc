#include "lora/lora_trainer.h"

#include <ATen/ATen.h>

#include "core/rng.h"
#include "model/kernels.h"

namespace elrea {

using torch::Tensor;

Tensor LowRankForward(const LoraWeights& lora, int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) {
  const AdapterLayout::Group& slots = lora.layout().group(layer, id);
  const LoraWeights::Group& w = lora.group(layer, id);
  Tensor h = at::mm(x, w.a.t()).to(torch::kFloat);  // [tokens, slots * rank]
  for (size_t s = 0; s < slots.slots.size(); ++s) {
    AddLowRank(y, slots.slots[s].out_first, h, static_cast<int64_t>(s) * lora.layout().rank(), w.b_t_f32[s],
               lora.scale(), 0, y.size(0));
  }
  return h;
}

Tensor LowRankGradient(const LoraWeights& lora, int64_t layer, LinearGroup id, const Tensor& grad_y) {
  const AdapterLayout::Group& slots = lora.layout().group(layer, id);
  const LoraWeights::Group& w = lora.group(layer, id);
  int64_t rank = lora.layout().rank();
  Tensor grad_h = torch::empty({grad_y.size(0), static_cast<int64_t>(slots.slots.size()) * rank},
                               grad_y.options().dtype(torch::kFloat));
  for (size_t s = 0; s < slots.slots.size(); ++s) {
    Tensor part = at::mm(grad_y.narrow(1, slots.slots[s].out_first, slots.slots[s].out), w.b[s]);
    grad_h.narrow(1, static_cast<int64_t>(s) * rank, rank).copy_(part);
  }
  return grad_h.mul_(lora.scale());
}

LoraTrainer::LoraTrainer(const LoraWeights& lora)
    : lora_(lora), hidden_(lora.layout().num_layers()) {
  grad_ = torch::zeros({lora.layout().num_params()}, torch::kFloat);
}

DropoutMask LoraTrainer::MaskFor(int64_t layer, LinearGroup id) const {
  return {dropout_.probability, RandomBits(dropout_.key, static_cast<uint64_t>(layer), static_cast<uint64_t>(id))};
}

void LoraTrainer::AddForward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x, Tensor& y) {
  if (lora_.layout().group(layer, id).slots.empty()) return;
  Tensor dropped = ApplyDropout(x, MaskFor(layer, id));
  hidden_[layer][static_cast<int>(id)] = LowRankForward(lora_, layer, id, dropped, y);
}

void LoraTrainer::AddBackward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x,
                              const Tensor& grad_y, Tensor& grad_x) {
  const AdapterLayout& layout = lora_.layout();
  const AdapterLayout::Group& slots = layout.group(layer, id);
  if (slots.slots.empty()) return;
  const LoraWeights::Group& w = lora_.group(layer, id);
  DropoutMask mask = MaskFor(layer, id);
  Tensor grad_h = LowRankGradient(lora_, layer, id, grad_y);
  if (grad_x.defined() && mask.probability <= 0) {
    AddLowRank(grad_x, 0, grad_h, 0, w.a_f32, 1.0f, 0, grad_x.size(0));
  } else if (grad_x.defined()) {
    Tensor through = torch::zeros_like(grad_x);
    AddLowRank(through, 0, grad_h, 0, w.a_f32, 1.0f, 0, grad_x.size(0));
    grad_x.add_(ApplyDropout(through, mask));
  }
  Tensor dropped = ApplyDropout(x, mask);
  layout.A(grad_, layer, id).add_(at::mm(grad_h.to(x.scalar_type()).t(), dropped));
  Tensor h = hidden_[layer][static_cast<int>(id)].to(x.scalar_type());
  for (size_t s = 0; s < slots.slots.size(); ++s) {
    Tensor grad_y_s = grad_y.narrow(1, slots.slots[s].out_first, slots.slots[s].out);
    Tensor h_s = h.narrow(1, static_cast<int64_t>(s) * layout.rank(), layout.rank());
    layout.B(grad_, layer, id, s).add_(at::mm(grad_y_s.t(), h_s), lora_.scale());
  }
  hidden_[layer][static_cast<int>(id)].reset();
}

}  // namespace elrea
