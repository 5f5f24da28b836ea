#include "lora/lora_weights.h"

#include <ATen/ATen.h>

#include <vector>

namespace elrea {

LoraWeights::LoraWeights(const AdapterLayout& layout, const Adapter& adapter, torch::Dtype dtype, torch::Device device)
    : layout_(&layout), scale_(static_cast<float>(adapter.config.scale())), dtype_(dtype), device_(device) {
  groups_.resize(layout.num_layers());
  Refresh(adapter.params);
}

void LoraWeights::Refresh(const torch::Tensor& params) {
  at::NoGradGuard no_grad;
  if (!device_.is_cpu()) return RefreshTogether(params.to(device_));
  const torch::Tensor& flat = params;
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

void LoraWeights::RefreshTogether(const torch::Tensor& params) {
  if (!together_) MakeViews();
  together_->values.copy_(params);
  const torch::Tensor rounded = together_->values.to(torch::kFloat);
  at::index_select_out(together_->a_f32, rounded, 0, together_->a_index);
  at::index_select_out(together_->b_t_f32, rounded, 0, together_->b_t_index);
  together_->b_t.copy_(together_->b_t_f32);
}

// The groups' matrices as views of a few long tensors, and where each element of those comes from.
void LoraWeights::MakeViews() {
  std::vector<int64_t> a_index, b_t_index;
  const int64_t rank = layout_->rank();
  const auto for_each_group = [&](const auto& visit) {
    for (int64_t layer = 0; layer < layout_->num_layers(); ++layer) {
      for (int g = 0; g < kNumLinearGroups; ++g) {
        const AdapterLayout::Group& slots = layout_->group(layer, static_cast<LinearGroup>(g));
        if (!slots.slots.empty()) visit(layer, static_cast<LinearGroup>(g), slots);
      }
    }
  };
  for_each_group([&](int64_t, LinearGroup, const AdapterLayout::Group& slots) {
    for (int64_t i = 0; i < std::ssize(slots.slots) * rank * slots.in; ++i) a_index.push_back(slots.a_offset + i);
    for (const AdapterLayout::Slot& slot : slots.slots) {
      for (int64_t j = 0; j < rank; ++j) {
        for (int64_t i = 0; i < slot.out; ++i) b_t_index.push_back(slot.b_offset + i * rank + j);
      }
    }
  });
  const auto empty = [&](size_t size, torch::Dtype dtype) {
    return torch::empty({static_cast<int64_t>(size)}, torch::dtype(dtype).device(device_));
  };
  together_ = std::make_unique<Together>(
      Together{empty(static_cast<size_t>(layout_->num_params()), dtype_), empty(a_index.size(), torch::kFloat),
               empty(b_t_index.size(), torch::kFloat), empty(b_t_index.size(), dtype_),
               torch::tensor(a_index, torch::kLong).to(device_), torch::tensor(b_t_index, torch::kLong).to(device_)});
  int64_t a_first = 0, b_first = 0;
  for_each_group([&](int64_t layer, LinearGroup id, const AdapterLayout::Group& slots) {
    Group& group = groups_[layer][static_cast<int>(id)];
    group.a = layout_->A(together_->values, layer, id);
    group.a_f32 = together_->a_f32.narrow(0, a_first, group.a.numel()).view_as(group.a);
    a_first += group.a.numel();
    for (size_t s = 0; s < slots.slots.size(); ++s) {
      const int64_t out = slots.slots[s].out;
      group.b.push_back(layout_->B(together_->values, layer, id, s));
      group.b_t.push_back(together_->b_t.narrow(0, b_first, rank * out).view({rank, out}));
      group.b_t_f32.push_back(together_->b_t_f32.narrow(0, b_first, rank * out).view({rank, out}));
      b_first += rank * out;
    }
  });
}

}  // namespace elrea
