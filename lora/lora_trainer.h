// LoRA on the backbone with gradients of A and B summed over all tokens of all passes since ZeroGrad: fine-tuning.
//
//   forward   h = drop(x) A^T,  y += s h B^T
//   backward  dh = s dy B,  dx += mask (dh A),  dA = dh^T drop(x),  dB = s dy^T h
//
// Projections with the same input share one dropout mask (PEFT draws one per module). Single-thread.
#pragma once

#include <array>
#include <vector>

#include "lora/dropout.h"
#include "lora/lora_weights.h"

namespace elrea {

// The part of the backward pass that training and per-example gradients share. `grad_h` [tokens, slots * rank] f32
// receives s dy B of all slots.
torch::Tensor LowRankGradient(const LoraWeights& lora, int64_t layer, LinearGroup group, const torch::Tensor& grad_y);
// h = x A^T [tokens, slots * rank] f32, and y += s h B^T.
torch::Tensor LowRankForward(const LoraWeights& lora, int64_t layer, LinearGroup group, const torch::Tensor& x,
                             torch::Tensor& y);

class LoraTrainer : public TrainableDelta {
 public:
  explicit LoraTrainer(const LoraWeights& lora);

  // Masks of the next pass are drawn from `key`; probability 0 turns dropout off.
  void SetDropout(double probability, uint64_t key) { dropout_ = {probability, key}; }
  void ZeroGrad() { grad_.zero_(); }
  const torch::Tensor& grad() const { return grad_; }  // [num_params] f32

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;
  void AddBackward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                   const torch::Tensor& grad_y, torch::Tensor& grad_x) override;

 private:
  DropoutMask MaskFor(int64_t layer, LinearGroup group) const;
  const LoraWeights& lora_;
  DropoutMask dropout_;
  torch::Tensor grad_;
  std::vector<std::array<torch::Tensor, kNumLinearGroups>> hidden_;  // h of the pass under way
};

}  // namespace elrea
