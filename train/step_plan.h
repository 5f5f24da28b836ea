// The optimiser steps of one training, without its passes: which rows each takes, and Adam on the gradient that the passes
// left. Fine-tuning (train/training_run.h) and the training of gates (train/train_gates.h) stand on it.
#pragma once

#include <string>
#include <vector>

#include "lora/dropout.h"
#include "train/batches.h"
#include "train/finetune.h"
#include "train/run_state.h"

namespace elrea {

// The rows of one optimiser step and what came of them.
struct TrainingStep {
  std::vector<int64_t> batch;  // row indices in the job
  RowList rows;
  int64_t num_targets = 0;   // response tokens
  DropoutMask dropout;       // places count the step's tokens
  double loss_sum = 0;       // of the targets' nll
  int64_t tokens = 0;        // passed so far
};

// Single-thread. Rows and options must outlive it.
class StepPlan {
 public:
  StepPlan(const RowList& rows, const FinetuneOptions& options);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t total_steps() const { return options_.epochs * steps_per_epoch_; }

  // The step that the state is before, without dropout. REQUIRES: an epoch is left.
  TrainingStep Next(const RunState& state);
  // Adam on `grad` [num_params] f32, at the rate of the schedule, which is returned; counts the batch and its loss.
  double Take(const TrainingStep& step, const torch::Tensor& grad, RunState& state) const;

 private:
  const RowList& rows_;
  const FinetuneOptions& options_;
  int64_t steps_per_epoch_;
  int64_t planned_epoch_ = -1;  // whose batches these are
  std::vector<std::vector<int64_t>> batches_;
};

// Steps of one epoch.
int64_t StepsPerEpoch(const RowList& rows, const FinetuneOptions& options);

// kUnavailable, for a job's keep_going that said no; the state is saved.
[[noreturn]] void ThrowStopped(const std::string& label, int64_t steps);

}  // namespace elrea
