#include "train/step_plan.h"

#include <fmt/format.h>

#include "core/error.h"

namespace elrea {

int64_t StepsPerEpoch(const RowList& rows, const FinetuneOptions& options) {
  return (static_cast<int64_t>(rows.size()) + options.batch_size - 1) / options.batch_size;
}

StepPlan::StepPlan(const RowList& rows, const FinetuneOptions& options)
    : rows_(rows), options_(options), steps_per_epoch_(StepsPerEpoch(rows, options)) {}

TrainingStep StepPlan::Next(const RunState& state) {
  if (planned_epoch_ != state.epoch) {
    batches_ = EpochBatches(rows_, options_.batch_size, options_.bucket_batches, static_cast<uint64_t>(options_.seed),
                            state.epoch);
    planned_epoch_ = state.epoch;
  }
  TrainingStep step;
  step.batch = batches_.at(state.batch);
  for (int64_t i : step.batch) step.rows.push_back(rows_[i]);
  step.num_targets = NumResponseTokens(step.rows);
  return step;
}

double StepPlan::Take(const TrainingStep& step, const torch::Tensor& grad, RunState& state) const {
  const double rate =
      LinearSchedule(options_.learning_rate, options_.warmup_fraction, state.adam.steps, total_steps());
  AdamStep({options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay}, rate, grad, state.params, state.adam);
  state.loss_sum += step.loss_sum;
  state.loss_count += step.num_targets;
  state.tokens += step.tokens;
  ++state.batch;
  return rate;
}

void ThrowStopped(const std::string& label, int64_t steps) {
  throw Error(ErrorKind::kUnavailable,
              fmt::format("{}: stopped after step {}; run the same command again to go on", label, steps));
}

}  // namespace elrea
