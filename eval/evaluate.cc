// Read this file first. For each method: the rows go through AnswerRows
//
//   prompts -> (routing) -> members -> generate -> extract the answer -> compare -> append to <method>.jsonl
//
// and the answers of all methods become one report.
#include "eval/evaluate.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "data/answer.h"
#include "eval/answer_rows.h"
#include "eval/choice_likelihood.h"
#include "eval/method.h"
#include "eval/predictions.h"
#include "eval/response_loss.h"

namespace elrea {
namespace {

std::string RowsChecksum(const std::vector<EvalRow>& rows) {
  std::string bytes;
  for (const EvalRow& row : rows) {
    bytes.append(reinterpret_cast<const char*>(row.prompt.data()), row.prompt.size() * sizeof(int32_t));
    bytes += row.gold + '\0' + row.source + '\0';
    if (!row.choices.empty()) bytes += ChoicesKey(row.choices);
    if (row.max_new_tokens > 0) bytes += std::to_string(row.max_new_tokens) + '\0';
  }
  return ChecksumHex(bytes);
}

// What every answer depends on; the number of bootstrap draws and the choice of methods change no answer.
Json Identity(const EvalJob& job, const EvalOptions& options) {
  SamplingOptions sampling = job.sampling;
  Json generation = OptionSet(sampling).ToJson();
  // Where these change nothing they are left out, as in evaluations older than they are.
  for (const char* name : {"min_p", "presence_penalty", "frequency_penalty"}) {
    if (generation[name] == 0) generation.erase(name);
  }
  return {{"num_rows", job.rows.size()},
          {"rows", RowsChecksum(job.rows)},
          {"generation", generation},
          {"chunk_rows", options.chunk_rows},
          {"answer_style", options.answer_style},
          {"matching", options.matching}};
}

// Keys whose values differ, or that only one side has.
void AppendDifferences(const Json& there, const Json& here, const std::string& prefix,
                       std::vector<std::string>& differing) {
  for (const auto& [key, value] : here.items()) {
    if (!there.contains(key) || there[key] != value) differing.push_back(prefix + key);
  }
  for (const auto& [key, value] : there.items()) {
    if (!here.contains(key)) differing.push_back(prefix + key);
  }
}

// Compares with what eval.json says of earlier sessions, and adds what it does not say yet.
void OpenDirectory(const EvalJob& job, const EvalOptions& options) {
  const fs::path path = job.directory / "eval.json";
  const Json identity = Identity(job, options);
  Json manifest = {{"format_version", 1}, {"job", identity}, {"methods", Json::object()}};
  if (fs::exists(path)) manifest = ReadVersionedJson(path);
  std::vector<std::string> differing;
  AppendDifferences(JsonField<Json>(manifest, "job", path.string()), identity, "", differing);
  Json methods = JsonField<Json>(manifest, "methods", path.string());
  if (!methods.is_object()) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": \"methods\" is " + JsonExcerpt(methods) + ", not an object; delete it and evaluate again");
  }
  for (const std::string& name : options.methods) {
    Json ours = job.identities.contains(name) ? job.identities[name] : Json::object();
    if (job.packed != nullptr) ours["decode_weights"] = "packed";
    if (methods.contains(name)) AppendDifferences(methods[name], ours, name + ".", differing);
    methods[name] = ours;
  }
  if (!differing.empty()) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{} holds an evaluation that differs in {}; give another --out, or delete that folder",
                    job.directory.string(), Join(differing, ", ")));
  }
  manifest["methods"] = methods;
  WriteJsonFile(path, manifest);
}

std::vector<Prediction> AnswerAll(const EvalJob& job, const EvalOptions& options, const Method& method) {
  AnswerJob answers{&job.ensemble->decoder(), job.tokenizer, job.chat, job.packed, job.rows, job.sampling};
  answers.chunk_rows = options.chunk_rows;
  answers.style = ParseAnswerStyle(options.answer_style);
  answers.matching = options.matching == "strict" ? AnswerMatching::kStrict : AnswerMatching::kFlexible;
  answers.label = "eval " + method.name;
  answers.path = job.directory / (method.name + ".jsonl");
  if (job.on_chunk) {
    answers.on_chunk = [&](std::span<const Prediction> chunk) { job.on_chunk(method.name, chunk); };
  }
  return AnswerRows(answers, PlannerOf(method, *job.ensemble, job.rows));
}

std::vector<std::optional<ChoiceOutcome>> ChoiceOutcomes(const EvalJob& job, const Method& method) {
  const std::vector<ChoiceLogProbs> log_probs = MethodChoices(job, method);
  std::vector<std::optional<ChoiceOutcome>> outcomes;
  for (size_t i = 0; i < log_probs.size(); ++i)
    outcomes.push_back(JudgeChoices(job.rows[i].choices, log_probs[i]));
  return outcomes;
}

}  // namespace

EvalReport Evaluate(const EvalJob& job, const EvalOptions& options) {
  std::vector<const Method*> methods;
  for (const std::string& name : options.methods) methods.push_back(&FindMethod(name));
  if (methods.empty()) throw Error(ErrorKind::kInvalidInput, "eval.methods is empty; name at least one");
  if (job.rows.empty()) throw Error(ErrorKind::kInvalidInput, "there are no rows to evaluate");
  OpenDirectory(job, options);
  std::vector<MethodAnswers> answers;
  for (const Method* method : methods) {
    WithContext("evaluating " + method->name, [&] {
      answers.push_back({method->name, method->compare_with, AnswerAll(job, options, *method), {}});
      if (options.loss) answers.back().losses = ResponseLosses(job, *method);
      if (options.likelihood && HaveChoices(job.rows)) answers.back().choices = ChoiceOutcomes(job, *method);
    });
  }
  EvalReport report =
      SummariseAnswers(answers, {options.bootstrap_samples, static_cast<uint64_t>(options.seed)});
  report.examples = CountExamples(job.rows);
  WriteJsonFile(job.directory / "report.json", ReportJson(report));
  WriteFileAtomically(job.directory / "report.txt", ReportText(report));
  return report;
}

}  // namespace elrea
