// Inference with many adapters at once: each segment of a packed batch runs under its own adapter, or none. The frozen
// products stay one GEMM for all rows (method section 6). Single-thread; one per pass owner.
#pragma once

#include <optional>
#include <vector>

#include "lora/lora_weights.h"
#include "lora/low_rank_rows.h"

namespace elrea {

class LoraMix : public LinearDelta {
 public:
  // adapter_of_segment[s]: the adapter of segment s, null for the backbone alone. Adapters must outlive the mix and not
  // change before.
  explicit LoraMix(std::vector<const LoraWeights*> adapter_of_segment)
      : adapter_of_segment_(std::move(adapter_of_segment)) {}

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;

 private:
  std::vector<const LoraWeights*> adapter_of_segment_;
  std::optional<LowRankRows> few_;  // those of the layer before, most often the same
};

}  // namespace elrea
