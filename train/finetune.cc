// The fine-tuning loop; read this file first. One step of everything under way:
//
//   rows of each -> passes of bounded tokens -> forward, loss / response tokens of its batch, backward -> Adam of each
//
// A base adapter goes alone; experts go side by side, and share the frozen products of each pass. What one fine-tuning
// does between passes is train/training_run.cc.
#include "train/finetune.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "lora/adapter_file.h"
#include "lora/lora_trainer.h"
#include "lora/tensor_file.h"
#include "train/batches.h"
#include "train/manifest.h"
#include "train/run_state.h"
#include "train/training_run.h"

namespace elrea {

using torch::Tensor;

namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A session of one fine-tuning or of several side by side: owns what is under way and its saved state.
class Session {
 public:
  Session(const std::vector<Finetuning>& all, const SideBySide& how)
      : all_(all), how_(how), decoder_(*all[0].job.decoder) {
    for (const Finetuning& f : all) results_.push_back(OpenJob(f.job, f.options));
    if (std::all_of(results_.begin(), results_.end(), [](const auto& result) { return result.has_value(); })) return;
    std::map<std::string, RunState> states = LoadRunStates(how.directory);
    for (size_t i = 0; i < all.size(); ++i) {
      const auto saved = states.find(NameOf(i));
      if (saved != states.end()) {  // even if it is finished: until the next save, others go on beside it
        CheckRunState(saved->second, all[i].job.start.params.numel(), all[i].options.epochs,
                      StepsPerEpoch(all[i].job.rows, all[i].options), how.directory);
        Begin(i, std::move(saved->second));
        states.erase(saved);
      } else if (!results_[i]) {
        waiting_.push_back(i);
      }
    }
    if (!states.empty()) {
      throw Error(ErrorKind::kInvalidInput, fmt::format("{} holds the state of another fine-tuning, '{}'; delete it",
                                                        (how.directory / "state.safetensors").string(),
                                                        states.begin()->first));
    }
  }

  std::vector<FinetuneResult> Run() {
    int64_t total = 0, taken = 0;
    for (const Finetuning& f : all_) total += f.options.epochs * StepsPerEpoch(f.job.rows, f.options);
    for (size_t i = 0; i < all_.size(); ++i) taken += results_[i] ? results_[i]->steps : 0;
    for (const Member& m : members_) taken += results_[m.index] ? 0 : m.run->state().adam.steps;
    Progress progress(how_.label, total, "steps");
    progress.StartAt(taken);
    for (saved_ = Seconds(); Admit();) {
      const int64_t steps = NumUnderWay();
      const double loss = Step();
      progress.Add(steps, fmt::format("loss {:.4f}", loss));
      const bool due = Seconds() - saved_ >= all_[0].options.checkpoint_every_s;
      if (due || MustClose()) SaveAndClose();
      AskWhetherToStop();
    }
    if (!members_.empty()) SaveAndClose();
    RemoveRunStates(how_.directory);
    std::vector<FinetuneResult> results;
    for (std::optional<FinetuneResult>& result : results_) results.push_back(std::move(result.value()));
    return results;
  }

 private:
  struct Member {
    size_t index;  // in all_
    std::unique_ptr<TrainingRun> run;
  };

  std::string NameOf(size_t index) const {
    return all_[index].job.directory.lexically_relative(how_.directory).string();
  }

  void Begin(size_t index, std::optional<RunState> state) {
    members_.push_back(
        {index, std::make_unique<TrainingRun>(all_[index].job, all_[index].options, std::move(state))});
  }

  int64_t NumUnderWay() const {
    return std::count_if(members_.begin(), members_.end(), [](const Member& m) { return !m.run->done(); });
  }

  // Fills free places; false when nothing is left to do. What shares a pass with what must not depend on when states
  // are saved, or a resumed run would round differently: so a fine-tuning that is done makes place at once.
  bool Admit() {
    for (; !waiting_.empty() && NumUnderWay() < how_.count; waiting_.pop_front()) Begin(waiting_.front(), std::nullopt);
    return NumUnderWay() > 0;
  }

  // One optimiser step of everything under way; returns the mean loss over its targets.
  double Step() {
    const double begun = Seconds();
    std::vector<TrainingRun*> runs;
    std::vector<TrainingStep> steps;
    for (const Member& m : members_) {
      if (m.run->done()) continue;
      runs.push_back(m.run.get());
      steps.push_back(m.run->NextStep());
    }
    RowList rows;
    std::vector<size_t> owners;  // of each row, in runs
    for (size_t i = 0; i < steps.size(); ++i) {
      rows.insert(rows.end(), steps[i].rows.begin(), steps[i].rows.end());
      owners.insert(owners.end(), steps[i].rows.size(), i);
    }
    size_t first = 0;
    for (const RowList& pass : SplitIntoPasses(rows, all_[0].options.max_tokens_per_pass)) {
      Pass(pass, std::span(owners).subspan(first, pass.size()), runs, steps);
      first += pass.size();
    }
    return Take(runs, steps, begun);
  }

  // Forward and backward of one pass; rows of one owner are neighbours.
  void Pass(const RowList& rows, std::span<const size_t> owners, const std::vector<TrainingRun*>& runs,
            std::vector<TrainingStep>& steps) {
    std::vector<float> weights;
    for (size_t owner : owners) weights.push_back(1.0f / static_cast<float>(steps[owner].num_targets));
    const LossBatch batch = ResponseBatch(rows, weights);
    std::vector<TrainedRun> trained;
    for (size_t r = 0; r < rows.size(); ++r) {
      const size_t owner = owners[r];
      if (r == 0 || owner != owners[r - 1]) {
        const int64_t begin = batch.packed.offsets[r];
        trained.push_back({&runs[owner]->weights(), runs[owner]->grad(), begin, begin, steps[owner].dropout,
                           steps[owner].tokens});
      }
      trained.back().end = batch.packed.offsets[r + 1];
      steps[owner].tokens += batch.packed.length(static_cast<int64_t>(r));
    }
    trainer_.SetRuns(std::move(trained));
    ForwardTape tape;
    Tensor grad_residual;
    Tensor residual = decoder_.Forward(batch.packed, &trainer_, &tape);
    Tensor nll = decoder_.LossAndGradient(residual, batch.targets, grad_residual).cpu();
    decoder_.Backward(batch.packed, tape, grad_residual, trainer_);
    const float* losses = nll.data_ptr<float>();
    for (size_t r = 0; r < rows.size(); ++r) {
      double& sum = steps[owners[r]].loss_sum;
      for (int64_t t = batch.target_offsets[r]; t < batch.target_offsets[r + 1]; ++t) sum += losses[t];
    }
  }

  double Take(const std::vector<TrainingRun*>& runs, const std::vector<TrainingStep>& steps, double begun) {
    double loss_sum = 0;
    int64_t num_targets = 0, tokens = 0;
    for (const TrainingStep& step : steps) {
      loss_sum += step.loss_sum;
      num_targets += step.num_targets;
      tokens += step.tokens;
    }
    const double rate = static_cast<double>(tokens) / (Seconds() - begun);
    for (size_t i = 0; i < runs.size(); ++i) runs[i]->Take(steps[i], rate);
    const double seconds = Seconds() - begun;
    for (size_t i = 0; i < runs.size(); ++i) {
      runs[i]->AddSeconds(seconds * static_cast<double>(steps[i].tokens) / static_cast<double>(tokens));
    }
    return loss_sum / static_cast<double>(num_targets);
  }

  // What is done is closed at the next save; at once when others wait, so that memory stays bounded.
  bool MustClose() const { return !waiting_.empty() && NumUnderWay() < static_cast<int64_t>(members_.size()); }

  // The state is saved before the first of what it holds is marked finished: a session that is killed between two
  // marks finds all of it in the state and goes on with the same passes.
  void SaveAndClose() {
    std::map<std::string, const RunState*> states;
    for (const Member& m : members_) {
      m.run->FlushMetrics();
      states[NameOf(m.index)] = &m.run->state();
    }
    SaveRunStates(how_.directory, states);
    for (const Member& m : members_) {
      if (m.run->done()) results_[m.index] = m.run->Finish();
    }
    std::erase_if(members_, [](const Member& m) { return m.run->done(); });
    saved_ = Seconds();
  }

  void AskWhetherToStop() {
    for (const Member& m : members_) {
      const FinetuneJob& job = m.run->job();
      const int64_t taken = m.run->state().adam.steps;
      if (!job.keep_going || job.keep_going(taken)) continue;
      const std::string label = job.label;
      SaveAndClose();
      ThrowStopped(label, taken);
    }
  }

  const std::vector<Finetuning>& all_;
  const SideBySide& how_;
  const Decoder& decoder_;
  LoraTrainer trainer_;
  std::vector<std::optional<FinetuneResult>> results_;
  std::vector<Member> members_;   // in the order of all_
  std::deque<size_t> waiting_;    // in the order of all_
  double saved_ = 0;              // when the state was last saved
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
  CompleteTargets(config.targets);
  if (options.target_modules.empty()) throw Error(ErrorKind::kInvalidInput, "lora.target_modules is empty");
  return config;
}

FinetuneResult Finetune(const FinetuneJob& job, const FinetuneOptions& options) {
  return FinetuneSideBySide({{job, options}}, {job.label, job.directory, 1})[0];
}

std::vector<FinetuneResult> FinetuneSideBySide(const std::vector<Finetuning>& all, const SideBySide& how) {
  for (const Finetuning& f : all) {
    if (f.job.rows.empty()) throw Error(ErrorKind::kInvalidInput, f.job.label + ": there are no rows to train on");
  }
  if (all.empty()) return {};
  return Session(all, how).Run();
}

int64_t SideBySideToFillPasses(const std::vector<Finetuning>& all) {
  constexpr int64_t kMaxBytes = int64_t{2} << 30;
  constexpr int64_t kBytesPerParam = 36;  // parameters, moments and gradient in f32, and the forms of LoraWeights
  double tokens = 0, steps = 0;
  for (const Finetuning& f : all) {
    steps += static_cast<double>(StepsPerEpoch(f.job.rows, f.options));
    for (const TokenRow* row : f.job.rows) tokens += static_cast<double>(row->tokens.size());
  }
  const double filling = static_cast<double>(all[0].options.max_tokens_per_pass) * steps / std::max(tokens, 1.0);
  const int64_t fitting = kMaxBytes / (kBytesPerParam * all[0].job.start.params.numel());
  const int64_t most = std::clamp<int64_t>(fitting, 1, static_cast<int64_t>(all.size()));
  return static_cast<int64_t>(std::clamp(std::round(filling), 1.0, static_cast<double>(most)));
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
    const auto& [adapter, moments] = checkpoints.back();
    if (moments.m.sizes() != adapter.params.sizes() || moments.v.sizes() != adapter.params.sizes()) {
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: moments of {} and {} parameters beside an adapter of {}; train again",
                                                   file.path().string(), moments.m.numel(), moments.v.numel(), adapter.params.numel()));
    }
  }
  if (checkpoints.empty()) {
    throw Error(ErrorKind::kNotFound, directory.string() + ": no checkpoint-1 with optimizer.safetensors; run the fine-tuning stage first");
  }
  return checkpoints;
}

}  // namespace elrea
