// What may be added to a frozen linear layer: the one seam between the backbone and adapters. The decoder calls it
// after each (fused) linear layer; it knows nothing of ranks, experts or mixtures.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>

#include "model/packed_batch.h"

namespace elrea {

// The seven projections of a block, in the order of every adapter format here. Where a family stores several as one
// matrix (ModelConfig::fused_qkv, fused_gate_up) an adapter adds one update to it: the last two.
enum class Projection { kQ, kK, kV, kO, kGate, kUp, kDown, kQkv, kGateUp };
constexpr std::array kAllProjections = {Projection::kQ,    Projection::kK,  Projection::kV,
                                        Projection::kO,    Projection::kGate, Projection::kUp,
                                        Projection::kDown, Projection::kQkv,  Projection::kGateUp};
constexpr size_t kNumProjections = kAllProjections.size();
// "q_proj", ... as Hugging Face names the modules.
const char* ProjectionName(Projection projection);

// Projections with the same input are one matrix product: its output columns are those of the members, in order.
enum class LinearGroup { kQkv, kO, kGateUp, kDown };
constexpr int kNumLinearGroups = 4;

class LinearDelta {
 public:
  virtual ~LinearDelta() = default;
  // y += delta(x). x [tokens, in], y [tokens, sum of the members' out], both in the compute dtype.
  virtual void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                          torch::Tensor& y) = 0;
};

class TrainableDelta : public LinearDelta {
 public:
  // grad_x += d delta(x) / d x applied to grad_y, and keeps the gradients of its own parameters. Called once for each
  // AddForward, in reverse order, with the same x. grad_x is undefined when nothing needs it.
  virtual void AddBackward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                           const torch::Tensor& grad_y, torch::Tensor& grad_x) = 0;
};

}  // namespace elrea
