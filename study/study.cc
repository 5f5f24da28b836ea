// The study's spine. For each seed and method:
//
//   plan (trains what is missing: adapters, features, clusters) -> losses and answers of the plan -> record
//
// then the records of all become one table. Everything below a plan is an artifact named after its content,
// so the loop itself keeps no state.
#include "study/study.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/commit.h"
#include "core/error.h"
#include "core/log.h"
#include "study/html_report.h"

namespace elrea {
namespace {

std::vector<const StudyMethod*> ChosenMethods(const StudyOptions& options) {
  std::vector<const StudyMethod*> methods;
  for (const std::string& name : options.methods) methods.push_back(&FindStudyMethod(name));
  if (!methods.empty()) return methods;
  for (const StudyMethod& method : StudyMethods()) methods.push_back(&method);
  return methods;
}

bool RunsUnder(const StudyMethod& method, int64_t seed, const StudyOptions& options) {
  const std::vector<int64_t>& seeds = StudySeeds(options, method.central());
  return std::find(seeds.begin(), seeds.end(), seed) != seeds.end();
}

// Lengths of features that methods need under this seed, beside the configured one.
std::vector<int64_t> FeatureLengths(const std::vector<const StudyMethod*>& methods, int64_t seed,
                                    const StudyOptions& options) {
  std::vector<int64_t> lengths;
  for (const StudyMethod* method : methods) {
    if (method->projection_dim > 0 && RunsUnder(*method, seed, options))
      lengths.push_back(method->projection_dim);
  }
  return lengths;
}

void RunMethod(Workbench& bench, const StudyMethod& method, StudyCache& cache, MethodRecord& record) {
  try {
    bench.StartCost();
    const StudyPlan plan = method.plan(bench);
    MethodOutcome outcome = RunPlan(bench, method, plan, cache);
    outcome.train_s = bench.Cost();
    record.outcomes[bench.seed()] = std::move(outcome);
  } catch (const std::exception& error) {  // Error, c10::Error, bad_alloc: the other methods go on
    const std::string what = error.what();
    LogWarning("study", "{} failed under seed {}: {}", method.name, bench.seed(), what);
    if (record.failure.empty())
      record.failure = fmt::format("seed {}: {}", bench.seed(), what.substr(0, what.find('\n')));
  }
}

Json SourceCounts(const StudyJob& job) {
  Json counts = Json::object();
  for (const EvalRow& row : job.test) counts[row.source] = counts.value(row.source, int64_t{0}) + 1;
  return counts;
}

// Mean weight of the base and of each expert over the rows of a source, under the first seed.
Json MeanWeights(const MethodRecord& record, const StudyJob& job) {
  Json json = Json::object();
  const auto& weights = record.outcomes.begin()->second.weights;
  std::map<std::string, std::pair<std::vector<double>, int64_t>> sums;
  for (size_t i = 0; i < weights.size(); ++i) {
    auto& [sum, count] = sums[job.test[i].source];
    sum.resize(weights[i].size());
    for (size_t a = 0; a < sum.size(); ++a) sum[a] += weights[i][a];
    ++count;
  }
  for (auto& [source, entry] : sums) {
    for (double& w : entry.first) w /= static_cast<double>(entry.second);
    json[source] = entry.first;
  }
  return json;
}

void WriteResults(const StudyJob& job, const StudyResult& result) {
  const auto num_rows = static_cast<int64_t>(job.test.size());
  Json json = {{"format_version", 1},
               {"commit", BuildCommit()},
               {"config", job.config},
               {"backbone", job.decoder->weights().fingerprint}};
  json["data"] = {
      {"train", job.ledger},
      {"held_out_rows", SourceCounts(job)},
      {"answered_rows", StudyAnsweredRows(job.study, /*central=*/true, num_rows).size()},
      {"answered_by_ablations", StudyAnsweredRows(job.study, /*central=*/false, num_rows).size()}};
  if (const auto uses = CountExamples(job.test); !uses.empty())
    json["data"]["worked_examples"] = ExampleUseJson(uses);
  json["methods"] = Json::array();
  for (size_t i = 0; i < result.records.size(); ++i) {
    Json entry = SummaryJson(result.summaries[i]);
    const MethodRecord& record = result.records[i];
    if (!record.outcomes.empty() && !record.outcomes.begin()->second.weights.empty()) {
      entry["mean_weights"] = MeanWeights(record, job);
    }
    json["methods"].push_back(entry);
  }
  json["ensemble_against"] = RivalsJson(result.rivals);
  for (const Finding& finding : result.findings) json["findings"].push_back(FindingJson(finding));
  WriteJsonFile(job.directory / "results.json", json);
  WriteFileAtomically(job.directory / "results.txt", SummaryText(result.summaries));
}

void RunAll(const StudyJob& job, const std::vector<const StudyMethod*>& methods,
            std::vector<MethodRecord>& records) {
  size_t done = 0, total = 0;
  for (const StudyMethod* method : methods) total += StudySeeds(job.study, method->central()).size();
  for (int64_t seed : job.study.seeds) {
    Workbench bench(job, seed, FeatureLengths(methods, seed, job.study));
    StudyCache cache;
    for (size_t m = 0; m < methods.size(); ++m) {
      if (!RunsUnder(*methods[m], seed, job.study)) continue;
      LogInfo("study", "{} of {}: {} under seed {}", ++done, total, methods[m]->name, seed);
      RunMethod(bench, *methods[m], cache, records[m]);
    }
  }
}

}  // namespace

StudyResult RunStudy(const StudyJob& job) {
  CheckStudyOptions(job.study);
  const std::vector<const StudyMethod*> methods = ChosenMethods(job.study);
  if (job.test.empty())
    throw Error(ErrorKind::kInvalidInput, "a study needs held-out rows: set data.test_files");
  StudyResult result;
  for (const StudyMethod* method : methods)
    result.records.push_back({method->name, method->help, method->origin, {}, {}});
  RunAll(job, methods, result.records);
  const SummaryOptions options{job.eval.bootstrap_samples, job.study.permutation_samples,
                               static_cast<uint64_t>(job.eval.seed), ParseAnswerStyle(job.eval.answer_style)};
  result.summaries = Summarise(result.records, options);
  result.rivals = EnsembleAgainst(result.records, options);
  result.findings = Findings(result.records, job.lora.rank, options);
  WriteResults(job, result);
  if (!job.study.report) return result;
  Workbench bench(job, job.study.seeds[0]);
  WithContext("writing the report", [&] { WriteHtmlReport(bench, result); });
  return result;
}

}  // namespace elrea
