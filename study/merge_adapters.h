// Several adapters as one: the mixing rules of mixture-of-experts baselines (method section 7).
#pragma once

#include <memory>
#include <vector>

#include "lora/lora_weights.h"

namespace elrea {

// An adapter with the layout it lives in; the weights point into the layout.
struct MergedAdapter {
  std::unique_ptr<AdapterLayout> layout;
  std::unique_ptr<LoraWeights> weights;
};

// MoE routing, h = W x + sum_c w_c delta W_c x in each layer: exactly one adapter of the summed rank, A =
// [A_1; A_2; ...] and B = [w_1 B_1, w_2 B_2, ...]. `shares` should sum to 1. REQUIRES: equal target modules
// and scale; at least one.
Adapter ConcatenateAdapters(const ModelConfig& model, const std::vector<const Adapter*>& adapters,
                            const std::vector<double>& shares);

// MoE merging: A = sum_c w_c A_c, B = sum_c w_c B_c. REQUIRES: equal configurations; at least one.
Adapter AverageAdapters(const std::vector<const Adapter*>& adapters, const std::vector<double>& shares);

MergedAdapter MakeMerged(const ModelConfig& model, const Adapter& adapter, torch::Dtype dtype,
                         torch::Device device);

}  // namespace elrea
