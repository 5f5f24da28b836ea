#include "lora/adapter_runs.h"

#include <ATen/ATen.h>

#include "model/kernels.h"

namespace elrea {

using torch::Tensor;

namespace {

Tensor EmptyHidden(const AdapterLayout& layout, const AdapterLayout::Group& group, const Tensor& rows) {
  return torch::empty({rows.size(0), static_cast<int64_t>(group.slots.size()) * layout.rank()},
                      rows.options().dtype(torch::kFloat));
}

}  // namespace

Tensor LowRankForward(const AdapterRuns& runs, int64_t layer, LinearGroup id, const Tensor& x, Tensor& y) {
  const AdapterLayout& layout = runs[0].lora->layout();
  const AdapterLayout::Group& group = layout.group(layer, id);
  Tensor h = EmptyHidden(layout, group, x);
  for (const AdapterRun& run : runs) {
    const LoraWeights::Group& w = run.lora->group(layer, id);
    const int64_t rows = run.end - run.begin;
    h.narrow(0, run.begin, rows).copy_(at::mm(x.narrow(0, run.begin, rows), w.a.t()));
    for (size_t s = 0; s < group.slots.size(); ++s) {
      AddLowRank(y, group.slots[s].out_first, h, static_cast<int64_t>(s) * layout.rank(), w.b_t_f32[s],
                 run.lora->scale(), run.begin, run.end);
    }
  }
  return h;
}

Tensor LowRankGradient(const AdapterRuns& runs, int64_t layer, LinearGroup id, const Tensor& grad_y) {
  const AdapterLayout& layout = runs[0].lora->layout();
  const AdapterLayout::Group& group = layout.group(layer, id);
  const int64_t rank = layout.rank();
  Tensor grad_h = EmptyHidden(layout, group, grad_y);
  for (const AdapterRun& run : runs) {
    const LoraWeights::Group& w = run.lora->group(layer, id);
    const Tensor grad_y_run = grad_y.narrow(0, run.begin, run.end - run.begin);
    const Tensor grad_h_run = grad_h.narrow(0, run.begin, run.end - run.begin);
    for (size_t s = 0; s < group.slots.size(); ++s) {
      const AdapterLayout::Slot& slot = group.slots[s];
      grad_h_run.narrow(1, static_cast<int64_t>(s) * rank, rank)
          .copy_(at::mm(grad_y_run.narrow(1, slot.out_first, slot.out), w.b[s]));
    }
  }
  return grad_h.mul_(runs[0].lora->scale());
}

void AddLowRankInputGradient(const AdapterRuns& runs, int64_t layer, LinearGroup id, const Tensor& grad_h,
                             Tensor& grad_x) {
  for (const AdapterRun& run : runs) {
    AddLowRank(grad_x, 0, grad_h, 0, run.lora->group(layer, id).a_f32, 1.0f, run.begin, run.end);
  }
}

}  // namespace elrea
