#include "lora/adapter.h"

#include <ATen/ATen.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace elrea {

using torch::Tensor;

void CompleteTargets(std::array<bool, kNumProjections>& targets) {
  const auto join = [&](Projection whole, std::initializer_list<Projection> parts) {
    const auto at = [&](Projection p) -> bool& { return targets[static_cast<size_t>(p)]; };
    const bool all = std::all_of(parts.begin(), parts.end(), at);
    if (at(whole)) {
      for (Projection p : parts) at(p) = true;
    }
    at(whole) = at(whole) || all;
  };
  join(Projection::kQkv, {Projection::kQ, Projection::kK, Projection::kV});
  join(Projection::kGateUp, {Projection::kGate, Projection::kUp});
}

namespace {

void RefuseParts(bool fused, const AdapterConfig& adapter, Projection whole, std::initializer_list<Projection> parts) {
  if (!fused || adapter.Targets(whole)) return;
  for (Projection p : parts) {
    if (!adapter.Targets(p)) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("an adapter of {} alone does not fit this backbone, which stores it in {}; adapt {}",
                            ProjectionName(p), ProjectionName(whole), ProjectionName(whole)));
  }
}

}  // namespace

const std::vector<Projection>& GroupMembers(const ModelConfig& c, LinearGroup group) {
  static const std::vector<Projection> kFusedQkv = {Projection::kQkv}, kFusedGateUp = {Projection::kGateUp};
  if (group == LinearGroup::kQkv && c.fused_qkv) return kFusedQkv;
  if (group == LinearGroup::kGateUp && c.fused_gate_up) return kFusedGateUp;
  static const std::vector<Projection> kMembers[] = {{Projection::kQ, Projection::kK, Projection::kV},
                                                     {Projection::kO},
                                                     {Projection::kGate, Projection::kUp},
                                                     {Projection::kDown}};
  return kMembers[static_cast<int>(group)];
}

int64_t ProjectionIn(const ModelConfig& c, Projection projection) {
  if (projection == Projection::kO) return c.heads * c.head_dim;
  return projection == Projection::kDown ? c.ffn : c.dim;
}

int64_t ProjectionOut(const ModelConfig& c, Projection projection) {
  switch (projection) {
    case Projection::kQ: return c.heads * c.head_dim;
    case Projection::kK:
    case Projection::kV: return c.kv_heads * c.head_dim;
    case Projection::kGate:
    case Projection::kUp: return c.ffn;
    case Projection::kQkv: return (c.heads + 2 * c.kv_heads) * c.head_dim;
    case Projection::kGateUp: return 2 * c.ffn;
    default: return c.dim;
  }
}

AdapterLayout::AdapterLayout(const ModelConfig& model, const AdapterConfig& adapter) : rank_(adapter.rank) {
  RefuseParts(model.fused_qkv, adapter, Projection::kQkv, {Projection::kQ, Projection::kK, Projection::kV});
  RefuseParts(model.fused_gate_up, adapter, Projection::kGateUp, {Projection::kGate, Projection::kUp});
  groups_.resize(model.layers);
  for (auto& layer : groups_) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      Group& group = layer[g];
      int64_t out_first = 0;
      for (Projection p : GroupMembers(model, static_cast<LinearGroup>(g))) {
        int64_t out = ProjectionOut(model, p);
        if (adapter.Targets(p)) group.slots.push_back({p, ProjectionIn(model, p), out, out_first, 0});
        out_first += out;
      }
      if (group.slots.empty()) continue;
      group.in = group.slots.front().in;
      group.a_offset = num_params_;
      num_params_ += static_cast<int64_t>(group.slots.size()) * rank_ * group.in;
      for (Slot& slot : group.slots) {
        slot.b_offset = num_params_;
        num_params_ += slot.out * rank_;
      }
    }
  }
}

Tensor AdapterLayout::A(const Tensor& flat, int64_t layer, LinearGroup g) const {
  const Group& s = group(layer, g);
  int64_t rows = static_cast<int64_t>(s.slots.size()) * rank_;
  return flat.narrow(0, s.a_offset, rows * s.in).view({rows, s.in});
}

Tensor AdapterLayout::A(const Tensor& flat, int64_t layer, LinearGroup g, size_t slot) const {
  return A(flat, layer, g).narrow(0, static_cast<int64_t>(slot) * rank_, rank_);
}

Tensor AdapterLayout::B(const Tensor& flat, int64_t layer, LinearGroup g, size_t slot) const {
  const Slot& s = group(layer, g).slots[slot];
  return flat.narrow(0, s.b_offset, s.out * rank_).view({s.out, rank_});
}

Adapter MakeAdapter(const ModelConfig& model, const AdapterConfig& config, uint64_t seed) {
  AdapterLayout layout(model, config);
  Adapter adapter{config, torch::zeros({layout.num_params()}, torch::kFloat), ""};
  uint64_t stream = 0;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const AdapterLayout::Group& group = layout.group(layer, static_cast<LinearGroup>(g));
      if (group.slots.empty()) continue;
      float bound = 1.0f / std::sqrt(static_cast<float>(group.in));
      float* a = adapter.params.data_ptr<float>() + group.a_offset;
      int64_t count = static_cast<int64_t>(group.slots.size()) * config.rank * group.in;
      for (int64_t i = 0; i < count; ++i) {
        a[i] = bound * static_cast<float>(2 * RandomUniform(seed, stream, static_cast<uint64_t>(i)) - 1);
      }
      ++stream;
    }
  }
  return adapter;
}

}  // namespace elrea
