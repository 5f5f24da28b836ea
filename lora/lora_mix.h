// Inference with many adapters at once: each segment of a packed batch runs under its own adapter, or none. The frozen
// products stay one GEMM for all rows (method section 6). Single-thread; one per pass owner.
#pragma once

#include <memory>
#include <vector>

#include "lora/lora_weights.h"

namespace elrea {

class LoraMix : public LinearDelta {
 public:
  // adapter_of_segment[s]: the adapter of segment s, null for the backbone alone. Adapters must outlive the passes.
  explicit LoraMix(std::vector<const LoraWeights*> adapter_of_segment)
      : adapter_of_segment_(std::move(adapter_of_segment)) {}

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;

 private:
  std::vector<const LoraWeights*> adapter_of_segment_;
};

}  // namespace elrea
