// Everything drawn at random is a function of (seed, epoch, step), so that going on from a saved state repeats what an
// uninterrupted run would have done, files included.
#include "train/training_run.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "lora/adapter_file.h"
#include "lora/lora_trainer.h"
#include "lora/tensor_file.h"
#include "train/manifest.h"

namespace elrea {

using torch::Tensor;

TrainingRun::TrainingRun(const FinetuneJob& job, const FinetuneOptions& options, std::optional<RunState> state)
    : job_(job),
      options_(options),
      layout_(job.decoder->config(), job.start.config),
      weights_(layout_, job.start, job.decoder->dtype(), job.decoder->device()),
      grad_(torch::zeros({layout_.num_params()}, torch::dtype(torch::kFloat).device(weights_.device()))),
      plan_(job.rows, options) {
  if (state) {
    state_ = std::move(*state);
    for (Tensor* t : {&state_.params, &state_.adam.m, &state_.adam.v}) *t = t->to(weights_.device());
    weights_.Refresh(state_.params);
    LogInfo(job_.label.c_str(), "resuming at step {} of {}", state_.adam.steps, plan_.total_steps());
  } else {
    state_.params = job_.start.params.to(weights_.device(), /*non_blocking=*/false, /*copy=*/true);
    state_.adam = MakeAdamState(layout_.num_params(), weights_.device());
    SaveCheckpoint(0);  // the start; with the rows of each step in the metrics, a run can be replayed elsewhere
  }
  const fs::path metrics = job_.directory / "metrics.jsonl";
  TruncateMetrics(metrics, state_.adam.steps);
  metrics_.open(metrics, std::ios::app);
  if (!metrics_) throw Error(ErrorKind::kIo, metrics.string() + ": cannot write");
}

TrainingStep TrainingRun::NextStep() {
  TrainingStep step = plan_.Next(state_);
  step.dropout = {options_.dropout, RandomBits(static_cast<uint64_t>(options_.seed) + 1,
                                               static_cast<uint64_t>(state_.adam.steps), 0)};
  grad_.zero_();
  return step;
}

double TrainingRun::Take(const TrainingStep& step, double tokens_per_s) {
  const double loss = step.loss_sum / static_cast<double>(step.num_targets);
  const double norm = grad_.norm().item<double>();
  RefuseBadLoss(loss, norm, step.rows);
  if (options_.max_grad_norm > 0 && norm > options_.max_grad_norm) grad_.mul_(options_.max_grad_norm / norm);
  const double rate = plan_.Take(step, grad_, state_);
  weights_.Refresh(state_.params);
  WriteMetrics({{"step", state_.adam.steps},
                {"epoch", state_.epoch + 1},
                {"loss", loss},
                {"lr", rate},
                {"grad_norm", norm},
                {"tokens", step.tokens},
                {"tokens_per_s", tokens_per_s},
                {"rows", step.batch}});
  if (state_.batch == plan_.steps_per_epoch()) FinishEpoch();
  return loss;
}

void TrainingRun::RefuseBadLoss(double loss, double norm, const RowList& rows) const {
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  int64_t longest = 0;
  for (const TokenRow* row : rows) longest = std::max(longest, static_cast<int64_t>(row->tokens.size()));
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: step {}: the loss is {} and the gradient norm {} ({} rows, the longest of {} tokens). "
                          "Lower finetune.learning_rate, set finetune.max_grad_norm=1, or use f32; the last epoch's "
                          "checkpoint is kept",
                          job_.label, state_.adam.steps + 1, loss, norm, rows.size(), longest));
}

void TrainingRun::FinishEpoch() {
  state_.EndEpoch();
  Json line = {{"step", state_.adam.steps}, {"epoch", state_.epoch}, {"epoch_loss", state_.last_loss}};
  if (!job_.validation.empty() && options_.validate_rows > 0) {
    const size_t n = std::min(job_.validation.size(), static_cast<size_t>(options_.validate_rows));
    LoraTrainer undropped(weights_);
    state_.last_validation_loss = ResponseLoss(*job_.decoder, &undropped, std::span(job_.validation).first(n),
                                               options_.max_tokens_per_pass);
    line["validation_loss"] = state_.last_validation_loss;
  }
  WriteMetrics(line);
  SaveTensors(SaveCheckpoint(state_.epoch) / "optimizer.safetensors",
              {{"adam.m", state_.adam.m.cpu()}, {"adam.v", state_.adam.v.cpu()}},
              {{"format_version", "1"}, {"steps", std::to_string(state_.adam.steps)}});
}

fs::path TrainingRun::SaveCheckpoint(int64_t epoch) const {
  fs::path directory = job_.directory / fmt::format("checkpoint-{}", epoch);
  SaveAdapter(directory, CurrentAdapter(), job_.decoder->config(), job_.decoder->weights().origin);
  return directory;
}

FinetuneResult TrainingRun::Finish() {
  metrics_.flush();
  SaveAdapter(job_.directory, CurrentAdapter(), job_.decoder->config(), job_.decoder->weights().origin);
  FinetuneResult result{CurrentAdapter(), state_.adam.steps, state_.tokens, state_.last_loss,
                        state_.last_validation_loss, state_.seconds};
  MarkJobFinished(job_.directory, result);
  const std::string validation =
      result.validation_loss >= 0 ? fmt::format(" validation_loss={:.4f}", result.validation_loss) : "";
  LogInfo(job_.label.c_str(), "done steps={} loss={:.4f}{} tokens={} tokens_per_s={:.0f}", result.steps,
          result.final_loss, validation, result.tokens,
          static_cast<double>(result.tokens) / std::max(result.seconds, 1e-9));
  return result;
}

Adapter TrainingRun::CurrentAdapter() const {
  return {job_.start.config, state_.params.to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true),
          job_.decoder->weights().fingerprint};
}

}  // namespace elrea
