#include "lora/gate_trainer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/adapter_runs.h"
#include "model/kernels.h"

namespace elrea {

using torch::Tensor;

GateTrainer::GateTrainer(const LoraWeights& lora)
    : lora_(lora), grad_(torch::zeros_like(lora.gate()->params())), kept_(lora.layout().num_layers()) {}

void GateTrainer::AddForward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x, Tensor& y) {
  const AdapterLayout::Group& group = lora_.layout().group(layer, id);
  if (group.slots.empty()) return;
  const LoraWeights::Group& w = lora_.group(layer, id);
  Kept& kept = kept_[layer][static_cast<int>(id)];
  kept.h = at::mm(x, w.a.t()).to(torch::kFloat);
  kept.shares = lora_.gate()->Shares(layer, id, x);
  Tensor scaled = kept.h.clone();
  lora_.gate()->Scale(kept.shares, scaled);
  const int64_t rank = lora_.layout().rank();
  for (size_t s = 0; s < group.slots.size(); ++s) {
    AddLowRank(y, group.slots[s].out_first, scaled, static_cast<int64_t>(s) * rank, w.b_t_f32[s],
               lora_.scale(), 0, x.size(0));
  }
}

void GateTrainer::AddBackward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x,
                              const Tensor& grad_y, Tensor& grad_x) {
  if (lora_.layout().group(layer, id).slots.empty()) return;
  Kept& kept = kept_[layer][static_cast<int>(id)];
  const int64_t tokens = x.size(0), slots = kept.shares.size(1), parts = kept.shares.size(2);
  const AdapterRuns run = {{&lora_, 0, tokens}};
  Tensor grad_h = LowRankGradient(run, layer, id, grad_y);  // of the scaled h: [tokens, slots * rank]
  const Tensor grad_shares = (grad_h * kept.h).view({tokens, slots, parts, -1}).sum(3);
  const Tensor mean = (kept.shares * grad_shares).sum(2, /*keepdim=*/true);
  const Tensor grad_scores = (kept.shares * (grad_shares - mean)).view({tokens, slots * parts}) /
                             std::sqrt(static_cast<double>(x.size(1)));
  lora_.gate()->Rows(grad_, layer, id).add_(at::mm(grad_scores.t(), x.to(torch::kFloat)).cpu());
  if (grad_x.defined()) {
    lora_.gate()->Scale(kept.shares, grad_h);
    AddLowRankInputGradient(run, layer, id, grad_h, grad_x);
    const Tensor rows = lora_.gate()->Rows(lora_.gate()->params(), layer, id).to(x.device());
    grad_x.add_(at::mm(grad_scores, rows).to(grad_x.scalar_type()));
  }
  kept = {};
}

}  // namespace elrea
