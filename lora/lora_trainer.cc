#include "lora/lora_trainer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/rng.h"
#include "model/bf16_products.h"
#include "model/turned_product.h"

namespace elrea {

using torch::Tensor;

LoraTrainer::LoraTrainer(const LoraWeights& lora) : single_(true) {
  const auto options = torch::dtype(torch::kFloat).device(lora.device());
  runs_.push_back({&lora, torch::zeros({lora.layout().num_params()}, options), 0, 0});
}

void LoraTrainer::FitToPass(int64_t tokens) {
  if (single_) runs_[0].end = tokens;
  hidden_.resize(layout().num_layers());
}

AdapterRuns LoraTrainer::Runs() const {
  AdapterRuns runs;
  for (const TrainedRun& run : runs_) runs.push_back({run.lora, run.begin, run.end});
  return runs;
}

DropoutRows LoraTrainer::DropoutOf(const TrainedRun& run, int64_t layer, LinearGroup id) const {
  uint64_t key = RandomBits(run.dropout.key, static_cast<uint64_t>(layer), static_cast<uint64_t>(id));
  return {{run.dropout.probability, key}, run.begin, run.end, run.first_place};
}

// x itself without dropout.
Tensor LoraTrainer::Dropped(int64_t layer, LinearGroup id, const Tensor& x) const {
  if (std::all_of(runs_.begin(), runs_.end(), [](const TrainedRun& r) { return r.dropout.probability <= 0; })) return x;
  Tensor dropped = torch::empty_like(x);
  for (const TrainedRun& run : runs_) ApplyDropout(x, DropoutOf(run, layer, id), dropped);
  return dropped;
}

void LoraTrainer::AddForward(int64_t layer, LinearGroup id, const PackedBatch& batch, const Tensor& x, Tensor& y) {
  FitToPass(batch.num_tokens());
  if (layout().group(layer, id).slots.empty()) return;
  hidden_[layer][static_cast<int>(id)] = LowRankForward(Runs(), layer, id, Dropped(layer, id, x), y);
}

namespace {

// h^T x of h [rows, hidden] f32 and x [rows, n] T.
Tensor SumOfProducts(const Tensor& h, const Tensor& x) {
  const bool in_pairs = x.is_cpu() && x.scalar_type() == torch::kBFloat16 && HasBf16Products() && x.size(1) % 16 == 0;
  if (!in_pairs) return at::mm(h.to(x.scalar_type()).t(), x);
  Tensor sum = torch::empty({h.size(1), x.size(1)}, h.options());
  MultiplyTurned({h.data_ptr<float>(), h.stride(0)}, {x.data_ptr<c10::BFloat16>(), x.stride(0)}, x.size(0), h.size(1), x.size(1),
                 sum.data_ptr<float>());
  return sum;
}

}  // namespace

void LoraTrainer::AddBackward(int64_t layer, LinearGroup id, const PackedBatch&, const Tensor& x,
                              const Tensor& grad_y, Tensor& grad_x) {
  const AdapterLayout::Group& slots = layout().group(layer, id);
  if (slots.slots.empty()) return;
  Tensor dropped = Dropped(layer, id, x);
  Tensor grad_h = LowRankGradient(Runs(), layer, id, grad_y);
  if (grad_x.defined() && dropped.is_same(x)) {
    AddLowRankInputGradient(Runs(), layer, id, grad_h, grad_x);
  } else if (grad_x.defined()) {
    Tensor through = torch::zeros_like(grad_x);
    AddLowRankInputGradient(Runs(), layer, id, grad_h, through);
    for (const TrainedRun& run : runs_) AddDropped(through, DropoutOf(run, layer, id), grad_x);
  }
  const Tensor& h = hidden_[layer][static_cast<int>(id)];
  for (TrainedRun& run : runs_) {
    auto rows = [&](const Tensor& t) { return t.narrow(0, run.begin, run.end - run.begin); };
    layout().A(run.grad, layer, id).add_(SumOfProducts(rows(grad_h), rows(dropped)));
    for (size_t s = 0; s < slots.slots.size(); ++s) {
      Tensor grad_y_s = rows(grad_y).narrow(1, slots.slots[s].out_first, slots.slots[s].out);
      Tensor h_s = rows(h).narrow(1, static_cast<int64_t>(s) * layout().rank(), layout().rank());
      layout().B(run.grad, layer, id, s).add_(SumOfProducts(h_s, grad_y_s).t(), run.lora->scale());
    }
  }
  hidden_[layer][static_cast<int>(id)].reset();
}

}  // namespace elrea
