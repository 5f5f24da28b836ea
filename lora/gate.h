// Gates over the parts of one adapter that is several joined in rank (A = [A_1; A_2; ...], B = [B_1, B_2,
// ...]): in every adapted projection each token has a share of each part,
//
//   y += s sum_c g_c B_c A_c x,      g = softmax over c of a score of x and the gate's row c
//
// as in mixtures of LoRA experts whose router looks at the layer's input. Shares of a token do not depend on
// other tokens, so prompts may be read in any pieces.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "lora/adapter.h"

namespace elrea {

enum class GateScore {
  kLinear,    // x . row / sqrt(in): for gates that are trained (MoLE, Wu et al. 2024)
  kAbsolute,  // |x . row|: for rows that are directions of unit length (Arrow, Ostapenko et al. 2024)
};

// Const-shareable; the layout must outlive it.
class Gate {
 public:
  // `layout`: of the joined adapter, whose rank is parts * rank of a part. `params` [num_params] f32 cpu:
  // kept, not copied, so that a trainer may change it in place.
  Gate(const AdapterLayout& layout, int64_t parts, GateScore score, torch::Tensor params);

  static int64_t NumParams(const AdapterLayout& layout, int64_t parts);
  int64_t parts() const { return parts_; }
  const AdapterLayout& layout() const { return layout_; }
  const torch::Tensor& params() const { return params_; }

  // Rows of a group's gates [slots * parts, in] f32, a view of a flat tensor such as params().
  torch::Tensor Rows(const torch::Tensor& flat, int64_t layer, LinearGroup group) const;

  // Shares [tokens, slots, parts] f32, of sum 1 over the parts. x [tokens, in] T.
  torch::Tensor Shares(int64_t layer, LinearGroup group, const torch::Tensor& x) const;
  // h [tokens, slots * rank] f32, times the share of the part that each column belongs to, in place.
  void Scale(const torch::Tensor& shares, torch::Tensor& h) const;

 private:
  const AdapterLayout& layout_;
  int64_t parts_;
  GateScore score_;
  torch::Tensor params_;
  std::vector<std::array<int64_t, kNumLinearGroups>> offsets_;
};

}  // namespace elrea
