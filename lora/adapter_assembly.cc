#include "lora/adapter_assembly.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/error.h"

namespace elrea {

using torch::Tensor;

namespace {

// The slot of a projection in the layout.
std::pair<LinearGroup, size_t> FindSlot(const AdapterLayout& layout, int64_t layer, Projection projection) {
  for (int g = 0; g < kNumLinearGroups; ++g) {
    const auto id = static_cast<LinearGroup>(g);
    const auto& slots = layout.group(layer, id).slots;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].projection == projection) return {id, s};
    }
  }
  throw Error(ErrorKind::kInternal, "the adapter's layout lacks a projection");
}

}  // namespace

Adapter AssembleAdapter(const std::vector<ModuleUpdate>& updates, const ModelConfig& model) {
  const auto rank_of = [](const ModuleUpdate& u) { return u.a.size(0); };
  const ModuleUpdate& widest = *std::ranges::max_element(updates, {}, rank_of);
  Adapter adapter;
  adapter.config.rank = rank_of(widest);
  adapter.config.alpha = widest.alpha;
  adapter.config.targets.fill(false);
  for (const ModuleUpdate& u : updates) adapter.config.targets[static_cast<size_t>(u.projection)] = true;
  CompleteTargets(adapter.config.targets);
  const AdapterLayout layout(model, adapter.config);
  adapter.params = torch::zeros({layout.num_params()}, torch::kFloat);
  for (const ModuleUpdate& u : updates) {
    const auto [group, slot] = FindSlot(layout, u.layer, u.projection);
    const int64_t rank = rank_of(u);
    const double scale = u.alpha / static_cast<double>(rank);
    layout.A(adapter.params, u.layer, group, slot).narrow(0, 0, rank).copy_(u.a);
    Tensor b = layout.B(adapter.params, u.layer, group, slot).narrow(1, 0, rank);
    b.copy_(scale == adapter.config.scale() ? u.b : u.b * (scale / adapter.config.scale()));
  }
  return adapter;
}

}  // namespace elrea
