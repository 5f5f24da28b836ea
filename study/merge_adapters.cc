#include "study/merge_adapters.h"

#include <ATen/ATen.h>

namespace elrea {

using torch::Tensor;

Adapter ConcatenateAdapters(const ModelConfig& model, const std::vector<const Adapter*>& adapters,
                            const std::vector<double>& shares) {
  Adapter joined{adapters[0]->config, {}, adapters[0]->base_fingerprint};
  joined.config.rank = 0;
  std::vector<AdapterLayout> layouts;
  for (const Adapter* adapter : adapters) {
    joined.config.rank += adapter->config.rank;
    layouts.emplace_back(model, adapter->config);
  }
  joined.config.alpha = adapters[0]->config.scale() * static_cast<double>(joined.config.rank);
  const AdapterLayout layout(model, joined.config);
  joined.params = torch::empty({layout.num_params()}, torch::kFloat);
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      for (size_t slot = 0; slot < layout.group(layer, id).slots.size(); ++slot) {
        std::vector<Tensor> a, b;
        for (size_t c = 0; c < adapters.size(); ++c) {
          a.push_back(layouts[c].A(adapters[c]->params, layer, id, slot));
          b.push_back(layouts[c].B(adapters[c]->params, layer, id, slot) * shares[c]);
        }
        layout.A(joined.params, layer, id, slot).copy_(torch::cat(a, 0));
        layout.B(joined.params, layer, id, slot).copy_(torch::cat(b, 1));
      }
    }
  }
  return joined;
}

Adapter AverageAdapters(const std::vector<const Adapter*>& adapters, const std::vector<double>& shares) {
  Adapter average{adapters[0]->config, torch::zeros_like(adapters[0]->params), adapters[0]->base_fingerprint};
  for (size_t c = 0; c < adapters.size(); ++c) average.params.add_(adapters[c]->params, shares[c]);
  return average;
}

MergedAdapter MakeMerged(const ModelConfig& model, const Adapter& adapter, torch::Dtype dtype,
                         torch::Device device) {
  MergedAdapter merged;
  merged.layout = std::make_unique<AdapterLayout>(model, adapter.config);
  merged.weights = std::make_unique<LoraWeights>(*merged.layout, adapter, dtype, device);
  return merged;
}

}  // namespace elrea
