// One fine-tuning under way, without its passes: which rows come next, the optimiser, metrics, checkpoints and result.
// Finetune and FinetuneSideBySide fill its gradient.
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "lora/lora_weights.h"
#include "train/step_plan.h"

namespace elrea {

// Single-thread.
class TrainingRun {
 public:
  // Goes on from `state`, or starts anew, which writes checkpoint-0 and empties the metrics. The job and options must
  // outlive the run.
  TrainingRun(const FinetuneJob& job, const FinetuneOptions& options, std::optional<RunState> state);

  const FinetuneJob& job() const { return job_; }
  const RunState& state() const { return state_; }
  const LoraWeights& weights() const { return weights_; }
  const torch::Tensor& grad() const { return grad_; }  // [num_params] f32 on the backbone's device, zero after NextStep
  bool done() const { return state_.epoch == options_.epochs; }

  // REQUIRES: not done.
  TrainingStep NextStep();
  // Adam on the gradient the passes left, and the end of the epoch if this was its last step; `tokens_per_s`, of all
  // passes of the step, is for the metrics. Returns the mean loss. kInvalidInput when it is not finite.
  double Take(const TrainingStep& step, double tokens_per_s);
  // The time spent in training is counted in shares where runs go side by side.
  void AddSeconds(double seconds) { state_.seconds += seconds; }
  void FlushMetrics() { metrics_.flush(); }

  // Writes the final adapter and marks the job finished. REQUIRES: done().
  FinetuneResult Finish();

 private:
  void FinishEpoch();
  void RefuseBadLoss(double loss, double norm, const RowList& rows) const;
  Adapter CurrentAdapter() const;
  fs::path SaveCheckpoint(int64_t epoch) const;
  void WriteMetrics(const Json& line) { metrics_ << JsonLine(line) << "\n"; }

  const FinetuneJob& job_;
  const FinetuneOptions& options_;
  AdapterLayout layout_;
  LoraWeights weights_;
  torch::Tensor grad_;
  RunState state_;
  std::ofstream metrics_;
  StepPlan plan_;
};

}  // namespace elrea
