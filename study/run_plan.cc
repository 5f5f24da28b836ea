#include "study/run_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "core/error.h"
#include "eval/predictions.h"
#include "model/device_memory.h"
#include "study/cost.h"
#include "study/merge_adapters.h"

namespace elrea {
namespace {

// Adapters made for single rows take some 100 MB each at rank 8 and five experts.
constexpr int64_t kRowsWithOwnAdapter = 8;

bool MakesAdapters(const StudyPlan& plan) {
  return plan.mixing == MixingRule::kLayers || plan.mixing == MixingRule::kParameters;
}

// The decode engine knows no gates: such plans decode by the decoder's own passes.
bool HasGates(const StudyPlan& plan) {
  return std::any_of(plan.adapters.begin(), plan.adapters.end(),
                     [](const StudyAdapter* a) { return a != nullptr && a->weights->gate() != nullptr; });
}

// One adapter in place of the row's members.
std::shared_ptr<const MergedAdapter> Merge(const StudyJob& job, const StudyPlan& plan, int64_t row) {
  std::vector<const Adapter*> adapters;
  std::vector<double> shares;
  const std::vector<double>& weights = plan.weights[static_cast<size_t>(row)];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t a = 0; a < weights.size(); ++a) {
    if (weights[a] <= 0) continue;
    adapters.push_back(&plan.adapters[a]->adapter);
    shares.push_back(weights[a] / total);
  }
  const Adapter merged = plan.mixing == MixingRule::kLayers
                             ? ConcatenateAdapters(job.decoder->config(), adapters, shares)
                             : AverageAdapters(adapters, shares);
  return std::make_shared<const MergedAdapter>(
      MakeMerged(job.decoder->config(), merged, job.decoder->dtype(), job.decoder->device()));
}

RowPlan PlanRow(const StudyJob& job, const StudyPlan& plan, int64_t row) {
  RowPlan made;
  const std::vector<double>& weights = plan.weights[static_cast<size_t>(row)];
  made.num_samples = plan.num_samples;
  made.mixing = plan.mixing == MixingRule::kProbabilities ? Mixing::kProbabilities : Mixing::kLogits;
  if (plan.routed) {
    made.base_weight = weights[0];
    made.expert_weights.assign(weights.begin() + 1, weights.end());
  }
  if (MakesAdapters(plan)) {
    const auto merged = Merge(job, plan, row);
    made.members = {{merged->weights.get(), 1.0}};
    made.owned = merged;
    return made;
  }
  for (size_t a = 0; a < weights.size(); ++a) {
    if (weights[a] > 0)
      made.members.push_back({plan.adapters[a] ? plan.adapters[a]->weights.get() : nullptr, weights[a]});
  }
  if (made.members.empty())
    throw Error(ErrorKind::kInvalidInput, fmt::format("row {}: no adapter has a weight", row + 1));
  return made;
}

// All that the next-token distributions of the plan's rows depend on.
Json PlanJson(const StudyJob& job, const StudyPlan& plan, const std::vector<int64_t>& rows) {
  std::string text;
  Json adapters = Json::array();
  for (const StudyAdapter* adapter : plan.adapters)
    adapters.push_back(adapter ? adapter->checksum : "backbone");
  for (int64_t i : rows) {
    const EvalRow& row = job.test[static_cast<size_t>(i)];
    for (const auto* tokens : {&row.prompt, &row.response}) {
      text.append(reinterpret_cast<const char*>(tokens->data()), tokens->size() * sizeof(int32_t)) += '\n';
    }
    text += row.gold + '\n' + row.source + '\n';
    for (double weight : plan.weights[static_cast<size_t>(i)]) text += fmt::format("{} ", weight);
  }
  return {{"backbone", job.decoder->weights().fingerprint},
          {"dtype", DtypeName(job)},
          {"adapters", adapters},
          {"mixing", static_cast<int>(plan.mixing)},
          {"rows_and_weights", ChecksumHex(text)}};
}

// The most bytes since ResetPeak, of tensors on a GPU that answers there and else resident in this process; 0 where the
// system does not tell.
uint64_t PeakBytes(torch::Device device) {
  if (const auto on_gpu = PeakDeviceBytes(device)) return static_cast<uint64_t>(*on_gpu);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}
void ResetPeak(torch::Device device) {
  PeakDeviceBytes(device, /*restart=*/true);
  std::ofstream("/proc/self/clear_refs") << "5";
}

std::vector<Prediction> Answer(const Workbench& bench, const StudyMethod& method, const StudyPlan& plan,
                               MethodOutcome& outcome) {
  const StudyJob& job = bench.job();
  const std::vector<int64_t> rows =
      StudyAnsweredRows(job.study, method.central(), static_cast<int64_t>(job.test.size()));
  if (rows.empty()) return {};
  std::vector<EvalRow> answered;
  for (int64_t row : rows) answered.push_back(job.test[static_cast<size_t>(row)]);
  AnswerJob answers{job.decoder, job.tokenizer, job.chat, HasGates(plan) ? nullptr : job.packed, answered,
                    job.generation};
  if (plan.mixing == MixingRule::kVotes) answers.sampling.temperature = 1;
  answers.chunk_rows = MakesAdapters(plan) ? kRowsWithOwnAdapter : job.eval.chunk_rows;
  answers.style = ParseAnswerStyle(job.eval.answer_style);
  answers.label = fmt::format("seed {}: {}", bench.seed(), method.name);
  Json identity = PlanJson(job, plan, rows);
  identity["generation"] = OptionSet(answers.sampling).ToJson();
  identity["decode_weights"] = answers.packed != nullptr ? "packed" : "dense";
  identity["answer_style"] = job.eval.answer_style;
  identity["num_samples"] = plan.num_samples;
  for (const EvalRow& row : answered) {
    if (row.max_new_tokens > 0) identity["max_new_tokens_of"][row.source] = row.max_new_tokens;
  }
  identity["chunk_rows"] = answers.chunk_rows;
  const fs::path folder = ArtifactFolder(job, "answers", identity);
  answers.path = folder / "answers.jsonl";
  const auto num_rows = static_cast<int64_t>(rows.size());
  const fs::path cost = folder / "cost.json";
  const bool knows_cost = fs::exists(cost);
  const int64_t there =
      knows_cost ? num_rows : std::ssize(PredictionLog(answers.path, num_rows, answers.chunk_rows).finished());
  ResetPeak(job.decoder->device());
  const Stopwatch watch;
  std::vector<Prediction> predictions = AnswerRows(answers, [&](std::span<const int64_t> asked) {
    std::vector<RowPlan> plans;
    for (int64_t i : asked) plans.push_back(PlanRow(job, plan, rows[static_cast<size_t>(i)]));
    return plans;
  });
  if (!knows_cost) {
    WriteJsonFile(cost, {{"format_version", 1},
                         {"decode_s", SecondsOfAll(watch.seconds(), num_rows - there, num_rows)},
                         {"peak_bytes", PeakBytes(job.decoder->device())}});
  }
  const Json saved = ReadVersionedJson(cost);
  outcome.decode_s = JsonField<double>(saved, "decode_s", cost.string());
  outcome.peak_bytes = JsonField<uint64_t>(saved, "peak_bytes", cost.string());
  for (size_t i = 0; i < predictions.size(); ++i) {
    predictions[i].row = rows[i];
    predictions[i].task = answered[i].task;
  }
  return predictions;
}

std::vector<int64_t> AllRows(const StudyJob& job) {
  std::vector<int64_t> all(job.test.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

// What is measured on given texts of all held-out rows.
LossJob MeasuringJob(const Workbench& bench, const StudyPlan& plan, const std::string& label, HiddenCache& cache) {
  const StudyJob& job = bench.job();
  LossJob measuring{job.decoder, job.test, fmt::format("seed {}: {}", bench.seed(), label), &cache};
  if (MakesAdapters(plan)) measuring.rows_per_plan = kRowsWithOwnAdapter;
  return measuring;
}

Planner PlannerOf(const StudyJob& job, const StudyPlan& plan) {
  return [&job, &plan](std::span<const int64_t> asked) {
    std::vector<RowPlan> plans;
    for (int64_t row : asked) plans.push_back(PlanRow(job, plan, row));
    return plans;
  };
}

std::vector<double> Losses(const Workbench& bench, const std::string& name, const StudyPlan& plan,
                           HiddenCache& cache) {
  const StudyJob& job = bench.job();
  const fs::path path = ArtifactFolder(job, "losses", PlanJson(job, plan, AllRows(job))) / "losses.json";
  if (!fs::exists(path))
    WriteLosses(path, MeasureLosses(MeasuringJob(bench, plan, "loss " + name, cache), PlannerOf(job, plan)));
  return ReadLosses(path, job.test.size());
}

std::vector<ScoredChoices> Choices(const Workbench& bench, const std::string& name, const StudyPlan& plan,
                                   StudyCache& cache) {
  const StudyJob& job = bench.job();
  Json identity = PlanJson(job, plan, AllRows(job));
  std::string key;
  for (const EvalRow& row : job.test) key += ChoicesKey(row.choices) + '\0';
  identity["choices"] = ChecksumHex(key);
  const fs::path path = ArtifactFolder(job, "choices", identity) / "choices.json";
  if (!fs::exists(path)) {
    WriteChoices(path, MeasureChoices(MeasuringJob(bench, plan, "choices " + name, cache.responses),
                                      PlannerOf(job, plan), &cache.choices));
  }
  const std::vector<ChoiceLogProbs> log_probs = ReadChoices(path, job.test);
  std::vector<ScoredChoices> scored;
  for (size_t i = 0; i < job.test.size(); ++i) {
    if (const auto outcome = JudgeChoices(job.test[i].choices, log_probs[i]))
      scored.push_back({static_cast<int64_t>(i), job.test[i].source, *outcome, job.test[i].task});
  }
  return scored;
}

}  // namespace

MethodOutcome RunPlan(const Workbench& bench, const StudyMethod& method, const StudyPlan& plan,
                      StudyCache& cache) {
  MethodOutcome outcome;
  // Votes have no next-token distribution of their own.
  if (plan.mixing != MixingRule::kVotes) {
    outcome.losses = Losses(bench, method.name, plan, cache.responses);
    if (bench.job().eval.likelihood && HaveChoices(bench.job().test))
      outcome.choices = Choices(bench, method.name, plan, cache);
  }
  outcome.predictions = Answer(bench, method, plan, outcome);
  if (plan.routed) outcome.weights = plan.weights;
  return outcome;
}

}  // namespace elrea
