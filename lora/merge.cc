#include "lora/merge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/rng.h"
#include "core/text.h"
#include "lora/adapter_assembly.h"

namespace elrea {

using torch::Tensor;

namespace {

enum class Kind { kLinear, kCat, kTies, kDareLinear, kDareTies };
struct Method {
  const char* name;
  Kind kind;
  bool on_updates;  // rather than on the factors
};
constexpr Method kMethods[] = {{"linear", Kind::kLinear, false},
                               {"cat", Kind::kCat, false},
                               {"svd", Kind::kLinear, true},
                               {"ties", Kind::kTies, false},
                               {"ties_svd", Kind::kTies, true},
                               {"dare_linear", Kind::kDareLinear, false},
                               {"dare_linear_svd", Kind::kDareLinear, true},
                               {"dare_ties", Kind::kDareTies, false},
                               {"dare_ties_svd", Kind::kDareTies, true}};

const Method& FindMethod(const std::string& name) {
  for (const Method& method : kMethods) {
    if (name == method.name) return method;
  }
  throw Error(ErrorKind::kInvalidInput, fmt::format("there is no merge method \"{}\"; use one of {}", name, Join(MergeMethods(), ", ")));
}

// One module of one adapter; its update is scale B A.
struct Factors {
  Tensor a, b;
  double scale;   // alpha / rank
  double weight;  // the caller's
};

// The largest `density` of the elements by size.
Tensor KeepLargest(const Tensor& x, double density) {
  if (density >= 1) return x;
  const Tensor flat = x.reshape({-1});
  const auto kept = static_cast<int64_t>(density * static_cast<double>(flat.numel()));
  const Tensor index = std::get<1>(flat.abs().topk(kept));
  return torch::zeros_like(flat).index_copy_(0, index, flat.index_select(0, index)).view(x.sizes());
}

// Each element with probability `density`, scaled so that the mean stays.
Tensor KeepRandom(const Tensor& x, double density, uint64_t seed, uint64_t stream) {
  if (density >= 1) return x;
  Tensor kept = x.contiguous().clone();
  auto* values = kept.data_ptr<float>();
  for (int64_t i = 0; i < kept.numel(); ++i) {
    const bool keep = RandomUniform(seed, stream, static_cast<uint64_t>(i)) < density;
    values[i] = keep ? values[i] / static_cast<float>(density) : 0.0f;
  }
  return kept;
}

class Merger {
 public:
  Merger(const Method& method, const MergeOptions& options) : method_(method), options_(options) {}

  // The merged module with alpha = rank, so that its update is B A. `module` numbers it, for the random choice.
  std::pair<Tensor, Tensor> Merge(const std::vector<Factors>& parts, uint64_t module) const {
    if (method_.kind == Kind::kCat) return Concatenate(parts);
    if (method_.on_updates) return Factorise(parts, module);
    std::vector<Tensor> a, b;
    std::vector<double> a_weights, b_weights;
    for (const Factors& p : parts) {
      const double w = p.weight * p.scale;
      a.push_back(p.a);
      b.push_back(p.b);
      a_weights.push_back(std::copysign(std::sqrt(std::abs(w)), w));
      b_weights.push_back(std::sqrt(std::abs(w)));
    }
    return {Combine(a, a_weights, 2 * module), Combine(b, b_weights, 2 * module + 1)};
  }

 private:
  static std::pair<Tensor, Tensor> Concatenate(const std::vector<Factors>& parts) {
    std::vector<Tensor> a, b;
    for (const Factors& p : parts) {
      a.push_back(p.a * (p.weight * p.scale));
      b.push_back(p.b);
    }
    return {torch::cat(a), torch::cat(b, 1)};
  }

  Tensor Combine(std::vector<Tensor> tensors, const std::vector<double>& weights, uint64_t stream) const {
    const bool random = method_.kind == Kind::kDareLinear || method_.kind == Kind::kDareTies;
    const bool signs = method_.kind == Kind::kTies || method_.kind == Kind::kDareTies;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (random) {
        tensors[i] = KeepRandom(tensors[i], options_.density, options_.seed, stream * tensors.size() + i);
      } else if (signs) {
        tensors[i] = KeepLargest(tensors[i], options_.density);
      }
    }
    const Tensor stacked = torch::stack(tensors);
    const Tensor weight = torch::tensor(weights, torch::kFloat).view({-1, 1, 1});
    if (!signs) return (stacked * weight).sum(0);
    const Tensor elected = torch::where(stacked.sum(0) >= 0, 1.0, -1.0);
    const Tensor agrees = stacked.sign().eq(elected);
    return (stacked * weight * agrees).sum(0) / agrees.sum(0).clamp_min(1);
  }

  // The sum's factors are small: an SVD of [total rank, total rank] between two QR decompositions. What ties and dare
  // make of the updates has full rank.
  std::pair<Tensor, Tensor> Factorise(const std::vector<Factors>& parts, uint64_t module) const {
    if (method_.kind == Kind::kLinear) {
      const auto [a, b] = Concatenate(parts);
      const auto [qb, rb] = at::linalg_qr(b);
      const auto [qa, ra] = at::linalg_qr(a.t());
      const auto [u, s, vh] = at::linalg_svd(at::mm(rb, ra.t()), /*full_matrices=*/false);
      return Truncate(at::mm(qb, u), s, at::mm(vh, qa.t()));
    }
    std::vector<Tensor> updates;
    std::vector<double> weights;
    for (const Factors& p : parts) {
      updates.push_back(at::mm(p.b, p.a) * p.scale);
      weights.push_back(p.weight);
    }
    const auto [u, s, vh] = at::linalg_svd(Combine(updates, weights, module), /*full_matrices=*/false);
    return Truncate(u, s, vh);
  }

  // B = U S, A = V^T, of rank options_.rank; zeros where the matrix has less.
  std::pair<Tensor, Tensor> Truncate(const Tensor& u, const Tensor& s, const Tensor& vh) const {
    const int64_t rank = options_.rank, kept = std::min(rank, s.numel());
    Tensor a = torch::zeros({rank, vh.size(1)}), b = torch::zeros({u.size(0), rank});
    a.narrow(0, 0, kept).copy_(vh.narrow(0, 0, kept));
    b.narrow(1, 0, kept).copy_(u.narrow(1, 0, kept) * s.narrow(0, 0, kept));
    return {a, b};
  }

  const Method& method_;
  const MergeOptions& options_;
};

void CheckInput(const std::vector<Adapter>& adapters, const std::vector<double>& weights, const Method& method,
                const MergeOptions& options) {
  const auto refuse = [](const std::string& why) { throw Error(ErrorKind::kInvalidInput, "merging adapters: " + why); };
  if (adapters.empty()) refuse("none is given");
  if (weights.size() != adapters.size())
    refuse(fmt::format("{} adapters, but {} weights; give one for each", adapters.size(), weights.size()));
  if (!(options.density > 0 && options.density <= 1)) refuse(fmt::format("density is {}, not in (0, 1]", options.density));
  if (options.rank < 0) refuse(fmt::format("rank is {}, below 0", options.rank));
  for (double weight : weights) {
    if (!std::isfinite(weight)) refuse("a weight is not finite");
  }
  if (method.on_updates || method.kind == Kind::kCat) return;
  for (const Adapter& adapter : adapters) {
    if (adapter.config.rank == adapters[0].config.rank) continue;
    refuse(fmt::format("{} needs equal ranks, but they are {} and {}; use cat or svd", method.name,
                       adapters[0].config.rank, adapter.config.rank));
  }
}

// The module's factors in an adapter, when it has it.
struct Place {
  const Adapter* adapter;
  AdapterLayout layout;
  double weight;
  std::optional<Factors> Find(int64_t layer, LinearGroup group, Projection projection) const {
    const auto& slots = layout.group(layer, group).slots;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].projection != projection) continue;
      return Factors{layout.A(adapter->params, layer, group, s), layout.B(adapter->params, layer, group, s),
                     adapter->config.scale(), weight};
    }
    return std::nullopt;
  }
};

}  // namespace

const std::vector<std::string>& MergeMethods() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Method& method : kMethods) all.emplace_back(method.name);
    return all;
  }();
  return names;
}

Adapter MergeAdapters(const std::vector<Adapter>& adapters, const std::vector<double>& weights, const ModelConfig& model,
                      const MergeOptions& options, const std::function<void(int64_t, int64_t)>& progress) {
  const Method& method = FindMethod(options.method);
  CheckInput(adapters, weights, method, options);
  MergeOptions resolved = options;
  std::vector<Place> places;
  for (size_t i = 0; i < adapters.size(); ++i) {
    places.push_back({&adapters[i], AdapterLayout(model, adapters[i].config), weights[i]});
    if (options.rank == 0) resolved.rank = std::max(resolved.rank, adapters[i].config.rank);
  }
  const Merger merger(method, resolved);
  std::vector<ModuleUpdate> updates;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      for (Projection p : GroupMembers(model, static_cast<LinearGroup>(g))) {
        std::vector<Factors> parts;
        for (const Place& place : places) {
          if (auto found = place.Find(layer, static_cast<LinearGroup>(g), p)) parts.push_back(*found);
        }
        if (parts.empty()) continue;
        auto [a, b] = merger.Merge(parts, static_cast<uint64_t>(layer * static_cast<int64_t>(kNumProjections)) + static_cast<uint64_t>(p));
        const auto alpha = static_cast<double>(a.size(0));
        updates.push_back({layer, p, std::move(a), std::move(b), alpha});
      }
    }
    if (progress) progress(layer + 1, model.layers);
  }
  Adapter merged = AssembleAdapter(updates, model);
  merged.base_fingerprint = adapters[0].base_fingerprint;
  return merged;
}

}  // namespace elrea
