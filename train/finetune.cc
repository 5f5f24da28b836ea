// The fine-tuning loop; read this file first. One step:
//
//   rows -> passes of bounded tokens -> forward, loss / response tokens of the batch, backward -> Adam -> refresh
//
// Everything drawn at random is a function of (seed, epoch, step), so that going on from a saved state repeats what an
// uninterrupted run would have done.
#include "train/finetune.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/text.h"
#include "lora/adapter_file.h"
#include "lora/lora_trainer.h"
#include "lora/tensor_file.h"
#include "train/batches.h"
#include "train/manifest.h"
#include "train/run_state.h"

namespace elrea {

using torch::Tensor;

namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One session of one job: owns the state, the adapter in compute form and the metrics file.
class Session {
 public:
  Session(const FinetuneJob& job, const FinetuneOptions& options)
      : job_(job),
        options_(options),
        layout_(job.decoder->config(), job.start.config),
        weights_(layout_, job.start, job.decoder->dtype(), job.decoder->device()),
        trainer_(weights_) {
    auto n = static_cast<int64_t>(job.rows.size());
    steps_per_epoch_ = (n + options.batch_size - 1) / options.batch_size;
    ResumeOrStart();
  }

  FinetuneResult Run() {
    Progress progress(job_.label, options_.epochs * steps_per_epoch_, "steps");
    progress.StartAt(state_.adam.steps);
    begun_ = saved_ = Seconds();
    for (; state_.epoch < options_.epochs; ++state_.epoch, state_.batch = 0) {
      auto batches = EpochBatches(job_.rows, options_.batch_size, options_.bucket_batches,
                                  static_cast<uint64_t>(options_.seed), state_.epoch);
      for (; state_.batch < static_cast<int64_t>(batches.size());) {
        double loss = Step(batches[state_.batch]);
        ++state_.batch;
        progress.Add(1, fmt::format("loss {:.4f}", loss));
        if (Seconds() - saved_ >= options_.checkpoint_every_s) Save();
        if (job_.keep_going && !job_.keep_going(state_.adam.steps)) Stop();
      }
      FinishEpoch();
    }
    return Finish();
  }

 private:
  void ResumeOrStart() {
    if (LoadRunState(job_.directory, state_)) {
      weights_.Refresh(state_.params);
      LogInfo(job_.label.c_str(), "resuming at step {} of {}", state_.adam.steps, options_.epochs * steps_per_epoch_);
    } else {
      state_.params = job_.start.params.clone();
      state_.adam = MakeAdamState(layout_.num_params());
      SaveEpochAdapter(0);  // the start; with the rows of each step in the metrics, a run can be replayed elsewhere
    }
    TruncateMetrics(job_.directory / "metrics.jsonl", state_.adam.steps);
    metrics_.open(job_.directory / "metrics.jsonl", std::ios::app);
    if (!metrics_) throw Error(ErrorKind::kIo, (job_.directory / "metrics.jsonl").string() + ": cannot write");
  }

  // One optimiser step; returns the mean loss of the batch.
  double Step(const std::vector<int64_t>& batch) {
    double started = Seconds();
    RowList rows;
    for (int64_t i : batch) rows.push_back(job_.rows[i]);
    int64_t num_targets = NumResponseTokens(rows);
    trainer_.ZeroGrad();
    double loss_sum = 0;
    int64_t tokens = 0;
    std::vector<RowList> passes = SplitIntoPasses(rows, options_.max_tokens_per_pass);
    for (size_t p = 0; p < passes.size(); ++p) {
      trainer_.SetDropout(options_.dropout, RandomBits(static_cast<uint64_t>(options_.seed) + 1,
                                                       static_cast<uint64_t>(state_.adam.steps), p));
      loss_sum += Pass(ResponseBatch(passes[p], 1.0f / static_cast<float>(num_targets)), tokens);
    }
    double loss = loss_sum / static_cast<double>(num_targets);
    Tensor grad = trainer_.grad();
    double norm = grad.norm().item<double>();
    RefuseBadLoss(loss, norm, rows);
    if (options_.max_grad_norm > 0 && norm > options_.max_grad_norm) grad = grad * (options_.max_grad_norm / norm);
    double rate = LinearSchedule(options_.learning_rate, options_.warmup_fraction, state_.adam.steps,
                                 options_.epochs * steps_per_epoch_);
    AdamStep({options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay}, rate, grad, state_.params,
             state_.adam);
    weights_.Refresh(state_.params);
    state_.loss_sum += loss_sum;
    state_.loss_count += num_targets;
    state_.tokens += tokens;
    WriteMetrics({{"step", state_.adam.steps},
                  {"epoch", state_.epoch + 1},
                  {"loss", loss},
                  {"lr", rate},
                  {"grad_norm", norm},
                  {"tokens", tokens},
                  {"tokens_per_s", static_cast<double>(tokens) / (Seconds() - started)},
                  {"rows", batch}});
    return loss;
  }

  // Forward and backward of one pass; returns the sum of the losses of its targets.
  double Pass(const LossBatch& batch, int64_t& tokens) {
    ForwardTape tape;
    Tensor grad_residual;
    Tensor residual = job_.decoder->Forward(batch.packed, &trainer_, &tape);
    Tensor nll = job_.decoder->LossAndGradient(residual, batch.targets, grad_residual);
    job_.decoder->Backward(batch.packed, tape, grad_residual, trainer_);
    tokens += batch.packed.num_tokens();
    return nll.sum(torch::kDouble).item<double>();
  }

  void RefuseBadLoss(double loss, double norm, const RowList& rows) const {
    if (std::isfinite(loss) && std::isfinite(norm)) return;
    int64_t longest = 0;
    for (const TokenRow* row : rows) longest = std::max(longest, static_cast<int64_t>(row->tokens.size()));
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: step {}: the loss is {} and the gradient norm {} ({} rows, the longest of {} tokens). "
                            "Lower finetune.learning_rate, set finetune.max_grad_norm=1, or use f32; the last epoch's "
                            "checkpoint is kept",
                            job_.label, state_.adam.steps + 1, loss, norm, rows.size(), longest));
  }

  void FinishEpoch() {
    state_.last_loss = state_.loss_sum / static_cast<double>(state_.loss_count);
    state_.loss_sum = 0;
    state_.loss_count = 0;
    Json line = {{"step", state_.adam.steps}, {"epoch", state_.epoch + 1}, {"epoch_loss", state_.last_loss}};
    if (!job_.validation.empty() && options_.validate_rows > 0) {
      size_t n = std::min(job_.validation.size(), static_cast<size_t>(options_.validate_rows));
      trainer_.SetDropout(0, 0);
      state_.last_validation_loss = ResponseLoss(*job_.decoder, &trainer_, std::span(job_.validation).first(n),
                                                 options_.max_tokens_per_pass);
      line["validation_loss"] = state_.last_validation_loss;
    }
    WriteMetrics(line);
    SaveEpoch();
    // The state says "next epoch, batch 0"; only then is the epoch's checkpoint never written again.
    ++state_.epoch;
    int64_t batch = std::exchange(state_.batch, 0);
    Save();
    --state_.epoch;
    state_.batch = batch;
  }

  void SaveEpoch() const {
    SaveTensors(SaveEpochAdapter(state_.epoch + 1) / "optimizer.safetensors", {{"adam.m", state_.adam.m}, {"adam.v", state_.adam.v}},
                {{"format_version", "1"}, {"steps", std::to_string(state_.adam.steps)}});
  }

  fs::path SaveEpochAdapter(int64_t epoch) const {
    fs::path directory = job_.directory / fmt::format("checkpoint-{}", epoch);
    SaveAdapter(directory, CurrentAdapter(), job_.decoder->config(), job_.decoder->weights().origin);
    return directory;
  }

  void Save() {
    double now = Seconds();
    state_.seconds += now - begun_;
    begun_ = saved_ = now;
    metrics_.flush();
    SaveRunState(job_.directory, state_);
  }

  [[noreturn]] void Stop() {
    Save();
    throw Error(ErrorKind::kUnavailable,
                fmt::format("{}: stopped after step {}; run the same command again to go on", job_.label, state_.adam.steps));
  }

  FinetuneResult Finish() {
    Save();
    SaveAdapter(job_.directory, CurrentAdapter(), job_.decoder->config(), job_.decoder->weights().origin);
    FinetuneResult result{CurrentAdapter(), state_.adam.steps, state_.tokens, state_.last_loss,
                          state_.last_validation_loss, state_.seconds};
    MarkJobFinished(job_.directory, result);
    RemoveRunState(job_.directory);
    std::string validation =
        result.validation_loss >= 0 ? fmt::format(" validation_loss={:.4f}", result.validation_loss) : "";
    LogInfo(job_.label.c_str(), "done steps={} loss={:.4f}{} tokens={} tokens_per_s={:.0f}", result.steps,
            result.final_loss, validation, result.tokens,
            static_cast<double>(result.tokens) / std::max(result.seconds, 1e-9));
    return result;
  }

  Adapter CurrentAdapter() const {
    return {job_.start.config, state_.params.clone(), job_.decoder->weights().fingerprint};
  }

  void WriteMetrics(const Json& line) { metrics_ << JsonLine(line) << "\n"; }

  const FinetuneJob& job_;
  const FinetuneOptions& options_;
  AdapterLayout layout_;
  LoraWeights weights_;
  LoraTrainer trainer_;
  RunState state_;
  std::ofstream metrics_;
  int64_t steps_per_epoch_ = 0;
  double begun_ = 0, saved_ = 0;
};

}  // namespace

AdapterConfig MakeAdapterConfig(const LoraOptions& options) {
  AdapterConfig config;
  config.rank = options.rank;
  config.alpha = options.alpha > 0 ? options.alpha : 4.0 * static_cast<double>(options.rank);
  config.targets.fill(false);
  std::vector<std::string> names;
  for (Projection p : kAllProjections) names.push_back(ProjectionName(p));
  for (const std::string& name : options.target_modules) {
    auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      throw Error(ErrorKind::kInvalidInput, fmt::format("lora.target_modules: '{}' is not one of {}", name, Join(names, ", ")));
    }
    config.targets[found - names.begin()] = true;
  }
  if (options.target_modules.empty()) throw Error(ErrorKind::kInvalidInput, "lora.target_modules is empty");
  return config;
}

FinetuneResult Finetune(const FinetuneJob& job, const FinetuneOptions& options) {
  if (job.rows.empty()) throw Error(ErrorKind::kInvalidInput, job.label + ": there are no rows to train on");
  if (auto finished = OpenJob(job, options)) {
    RemoveRunState(job.directory);  // a kill may have come between the last two lines of Finish
    return *finished;
  }
  return Session(job, options).Run();
}

double ResponseLoss(const Decoder& decoder, LinearDelta* delta, std::span<const TokenRow* const> rows,
                    int64_t max_tokens_per_pass) {
  double sum = 0;
  RowList list(rows.begin(), rows.end());
  for (const RowList& pass : SplitIntoPasses(list, max_tokens_per_pass)) {
    LossBatch batch = ResponseBatch(pass, 1.0f);
    sum += decoder.Loss(decoder.Forward(batch.packed, delta), batch.targets).sum(torch::kDouble).item<double>();
  }
  return sum / static_cast<double>(NumResponseTokens(list));
}

std::vector<EpochCheckpoint> LoadCheckpoints(const std::filesystem::path& directory, const ModelConfig& model) {
  std::vector<EpochCheckpoint> checkpoints;
  for (int64_t epoch = 1;; ++epoch) {
    fs::path path = directory / fmt::format("checkpoint-{}", epoch);
    if (!fs::exists(path / "optimizer.safetensors")) break;
    SafetensorsFile file(path / "optimizer.safetensors");
    VerifySafetensors(file);
    auto steps = file.metadata().find("steps");
    int64_t taken = steps == file.metadata().end() ? 0 : std::atoll(steps->second.c_str());
    if (taken < 1) throw Error(ErrorKind::kCorrupt, file.path().string() + ": no step count in the metadata");
    checkpoints.push_back({LoadAdapter(path, model), {LoadFloat(file, "adam.m"), LoadFloat(file, "adam.v"), taken}});
  }
  if (checkpoints.empty()) {
    throw Error(ErrorKind::kNotFound, directory.string() + ": no checkpoint-1 with optimizer.safetensors; run the fine-tuning stage first");
  }
  return checkpoints;
}

}  // namespace elrea
