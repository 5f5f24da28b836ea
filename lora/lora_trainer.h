// LoRA on the backbone with gradients of A and B summed over all tokens of all passes since they were set to zero:
// fine-tuning, of one adapter or of several side by side on rows of their own.
//
//   forward   h = drop(x) A^T,  y += s h B^T
//   backward  dh = s dy B,  dx += mask (dh A),  dA = dh^T drop(x),  dB = s dy^T h
//
// Projections with the same input share one dropout mask (PEFT draws one per module). Single-thread.
#pragma once

#include <array>
#include <vector>

#include "lora/adapter_runs.h"
#include "lora/dropout.h"

namespace elrea {

// Neighbouring rows of a pass [begin, end) that train one adapter. Their dropout masks are those of the places
// first_place, ... of the adapter's step, whatever else is in the pass.
struct TrainedRun {
  const LoraWeights* lora;
  torch::Tensor grad;  // [num_params] f32 on the device of `lora`, added to
  int64_t begin, end;
  DropoutMask dropout = {};
  int64_t first_place = 0;
};

class LoraTrainer : public TrainableDelta {
 public:
  LoraTrainer() = default;                        // SetRuns before each pass
  explicit LoraTrainer(const LoraWeights& lora);  // every pass is of this adapter alone

  // Of the next pass: in order, covering all its rows; all adapters have the same layout and scale.
  void SetRuns(std::vector<TrainedRun> runs) { runs_ = std::move(runs); }

  // Of a trainer of one adapter. Masks of the next passes are drawn from `key`; probability 0 turns dropout off.
  void SetDropout(double probability, uint64_t key) { runs_[0].dropout = {probability, key}; }
  void ZeroGrad() { runs_[0].grad.zero_(); }
  const torch::Tensor& grad() const { return runs_[0].grad; }  // [num_params] f32 on the device of the weights

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;
  void AddBackward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                   const torch::Tensor& grad_y, torch::Tensor& grad_x) override;

 private:
  const AdapterLayout& layout() const { return runs_[0].lora->layout(); }
  void FitToPass(int64_t tokens);
  AdapterRuns Runs() const;
  DropoutRows DropoutOf(const TrainedRun& run, int64_t layer, LinearGroup group) const;
  torch::Tensor Dropped(int64_t layer, LinearGroup group, const torch::Tensor& x) const;

  std::vector<TrainedRun> runs_;
  bool single_ = false;                                                // the one run is as long as the pass
  std::vector<std::array<torch::Tensor, kNumLinearGroups>> hidden_;  // h of the pass under way
};

}  // namespace elrea
