#include "train/train_gates.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "lora/gate_trainer.h"
#include "lora/tensor_file.h"
#include "train/step_plan.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr const char* kStateName = "gates";
constexpr const char* kResultName = "gates.safetensors";

class GateTraining {
 public:
  GateTraining(const GateJob& job, const FinetuneOptions& options)
      : job_(job),
        options_(options),
        trainer_(*job.lora),
        params_(job.lora->gate()->params()),
        plan_(job.rows, options) {
    state_.adam = MakeAdamState(params_.numel());
    std::map<std::string, RunState> saved = LoadRunStates(job.directory);
    if (const auto found = saved.find(kStateName); found != saved.end()) {
      CheckRunState(found->second, params_.numel(), options.epochs, plan_.steps_per_epoch(), job.directory);
      state_ = std::move(found->second);
      params_.copy_(state_.params);
    }
    state_.params = params_;
  }

  GateResult Run() {
    Progress progress(job_.label, plan_.total_steps(), "steps");
    progress.StartAt(state_.adam.steps);
    auto saved = std::chrono::steady_clock::now(), begun = saved;
    while (state_.epoch < options_.epochs) {
      if (Since(saved) >= options_.checkpoint_every_s) {
        SaveRunStates(job_.directory, {{kStateName, &state_}});
        saved = std::chrono::steady_clock::now();
      }
      progress.Add(1, fmt::format("loss {:.4f}", Step()));
      state_.seconds += Since(begun);
      begun = std::chrono::steady_clock::now();
      AskWhetherToStop();
    }
    Finish();
    return {state_.last_loss, state_.seconds};
  }

 private:
  static double Since(std::chrono::steady_clock::time_point then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
  }

  // One optimiser step; returns its mean loss.
  double Step() {
    TrainingStep step = plan_.Next(state_);
    trainer_.ZeroGrad();
    for (const RowList& pass : SplitIntoPasses(step.rows, options_.max_tokens_per_pass)) {
      const LossBatch loss = ResponseBatch(pass, 1.0f / static_cast<float>(step.num_targets));
      ForwardTape tape;
      Tensor grad_residual;
      const Tensor residual = job_.decoder->Forward(loss.packed, &trainer_, &tape);
      const Tensor nll = job_.decoder->LossAndGradient(residual, loss.targets, grad_residual);
      job_.decoder->Backward(loss.packed, tape, grad_residual, trainer_);
      step.loss_sum += nll.sum(torch::kDouble).item<double>();
    }
    if (!std::isfinite(step.loss_sum)) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: the loss of step {} is not finite; lower the learning rate", job_.label,
                              state_.adam.steps + 1));
    }
    plan_.Take(step, trainer_.grad(), state_);
    if (state_.batch == plan_.steps_per_epoch()) state_.EndEpoch();
    return step.loss_sum / static_cast<double>(step.num_targets);
  }

  void AskWhetherToStop() {
    if (!job_.keep_going || job_.keep_going(state_.adam.steps)) return;
    SaveRunStates(job_.directory, {{kStateName, &state_}});
    ThrowStopped(job_.label, state_.adam.steps);
  }

  void Finish() {
    SaveTensors(job_.directory / kResultName, {{"params", params_}},
                {{"final_loss", fmt::format("{}", state_.last_loss)},
                 {"seconds", fmt::format("{}", state_.seconds)}});
    RemoveRunStates(job_.directory);
  }

  const GateJob& job_;
  const FinetuneOptions& options_;
  GateTrainer trainer_;
  Tensor params_;  // those of the gate, and of the state: Adam writes where the passes read
  StepPlan plan_;
  RunState state_;
};

[[noreturn]] void ThrowDamaged(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, path.string() + " is damaged: " + what + "; delete it to train the gates again");
}

double Number(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  const std::string text = found == file.metadata().end() ? "" : found->second;
  double number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size()) {
    ThrowDamaged(file.path(), fmt::format("{} is \"{}\", not a number", key, text));
  }
  return number;
}

}  // namespace

GateResult TrainGates(const GateJob& job, const FinetuneOptions& options) {
  if (job.rows.empty()) throw Error(ErrorKind::kInvalidInput, job.label + ": there are no rows to train on");
  const std::filesystem::path result = job.directory / kResultName;
  if (!std::filesystem::exists(result)) return GateTraining(job, options).Run();
  const SafetensorsFile file(result);
  VerifySafetensors(file);
  Tensor params = job.lora->gate()->params();
  const Tensor kept = LoadFloat(file, "params");
  if (kept.sizes() != params.sizes()) ThrowDamaged(result, fmt::format("it has {} parameters, not {}", kept.numel(), params.numel()));
  params.copy_(kept);
  return {Number(file, "final_loss"), Number(file, "seconds")};
}

}  // namespace elrea
