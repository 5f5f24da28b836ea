// Gradients of a gate's rows, the adapter's own parts frozen. With g the shares, h = x A^T, z the scores:
//
//   forward   y += s (g o h) B^T
//   backward  d(g o h) = s dy B,  dh = g o d(g o h),  dg_c = sum over the part of h o d(g o h)
//             dz_c = g_c (dg_c - sum_k g_k dg_k),  dx += dh A + dz rows / sqrt(in),  drows = dz^T x /
//             sqrt(in)
#pragma once

#include <array>
#include <vector>

#include "lora/gate.h"
#include "lora/lora_weights.h"

namespace elrea {

// Single-thread. The adapter must outlive the object.
class GateTrainer : public TrainableDelta {
 public:
  // `lora`: with a gate whose scores are linear.
  explicit GateTrainer(const LoraWeights& lora);

  void ZeroGrad() { grad_.zero_(); }
  const torch::Tensor& grad() const { return grad_; }  // [num_params of the gate] f32, summed over passes

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;
  void AddBackward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                   const torch::Tensor& grad_y, torch::Tensor& grad_x) override;

 private:
  struct Kept {
    torch::Tensor h, shares;  // [tokens, slots * rank] f32 before scaling, [tokens, slots, parts] f32
  };
  const LoraWeights& lora_;
  torch::Tensor grad_;
  std::vector<std::array<Kept, kNumLinearGroups>> kept_;
};

}  // namespace elrea
