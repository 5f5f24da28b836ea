#include "lora/lora_weights.h"

#include <ATen/ATen.h>

namespace elrea {

LoraWeights::LoraWeights(const AdapterLayout& layout, const Adapter& adapter, torch::Dtype dtype, torch::Device device)
    : layout_(&layout), scale_(static_cast<float>(adapter.config.scale())), dtype_(dtype), device_(device) {
  groups_.resize(layout.num_layers());
  Refresh(adapter.params);
}

void LoraWeights::Refresh(const torch::Tensor& params) {
  at::NoGradGuard no_grad;
  torch::Tensor flat = params.to(device_);
  for (int64_t layer = 0; layer < layout_->num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      auto id = static_cast<LinearGroup>(g);
      const AdapterLayout::Group& slots = layout_->group(layer, id);
      if (slots.slots.empty()) continue;
      Group& group = groups_[layer][g];
      group.a_f32 = layout_->A(flat, layer, id).clone();
      group.a = group.a_f32.to(dtype_);
      group.b.clear();
      group.b_t.clear();
      group.b_t_f32.clear();
      for (size_t s = 0; s < slots.slots.size(); ++s) {
        // Both forms round B through the compute dtype, so forward and backward see the same matrix.
        group.b.push_back(layout_->B(flat, layer, id, s).to(dtype_, /*non_blocking=*/false, /*copy=*/true));
        group.b_t.push_back(group.b.back().t().contiguous());
        group.b_t_f32.push_back(group.b_t.back().to(torch::kFloat));
      }
      if (dtype_ != torch::kFloat) group.a_f32.copy_(group.a);
    }
  }
}

}  // namespace elrea
