// The evaluation loop; read this file first. For each method and each chunk of rows:
//
//   prompts -> (routing) -> members -> generate -> extract the answer -> compare -> append to <method>.jsonl
//
// A chunk is answered and saved as a whole, so that a resumed evaluation forms the same batches as an
// uninterrupted one.
#include "eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "data/answer.h"
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

class MethodRun {
 public:
  MethodRun(const EvalJob& job, const EvalOptions& options, const Method& method)
      : job_(job),
        options_(options),
        method_(method),
        log_(job.directory / (method.name + ".jsonl"), static_cast<int64_t>(job.rows.size()),
             options.chunk_rows),
        generator_(job.ensemble->decoder(), *job.tokenizer, job.chat->stop_tokens(), {}, job.packed),
        progress_("eval " + method.name, static_cast<int64_t>(job.rows.size()), "rows") {}

  std::vector<Prediction> Run() {
    const auto num_rows = static_cast<int64_t>(job_.rows.size());
    auto begin = static_cast<int64_t>(log_.finished().size());
    progress_.StartAt(begin);
    if (begin > 0) Show(log_.finished());
    for (; begin < num_rows; begin += options_.chunk_rows) {
      const std::vector<Prediction> chunk =
          AnswerChunk(begin, std::min(begin + options_.chunk_rows, num_rows));
      log_.Append(chunk);
      Show(chunk);
    }
    return log_.finished();
  }

 private:
  void Show(std::span<const Prediction> chunk) const {
    if (job_.on_chunk) job_.on_chunk(method_.name, chunk);
  }

  bool Fits(const EvalRow& row) const {
    return static_cast<int64_t>(row.prompt.size()) < job_.ensemble->decoder().config().context_length;
  }

  std::vector<Prediction> AnswerChunk(int64_t begin, int64_t end) {
    std::vector<int64_t> asked;  // rows whose prompt fits the context
    std::vector<std::span<const int32_t>> prompts;
    std::vector<Prediction> chunk;
    for (int64_t row = begin; row < end; ++row) {
      const EvalRow& r = job_.rows[static_cast<size_t>(row)];
      Prediction& p = chunk.emplace_back();
      p.row = row;
      p.source = r.source;
      p.gold = r.gold;
      p.finish_reason = "over_long";  // unless it is asked
      if (!Fits(r)) continue;
      asked.push_back(row);
      prompts.emplace_back(r.prompt);
    }
    const MethodPlan plan = PlanMethod(method_, *job_.ensemble, prompts);
    std::vector<GenerateRequest> requests;
    for (size_t i = 0; i < asked.size(); ++i) {
      requests.push_back({job_.rows[static_cast<size_t>(asked[i])].prompt, plan.members[i], job_.sampling});
    }
    const auto completions =
        generator_.Run(requests, {}, [&](size_t, const Completion&) { progress_.Add(1); });
    for (size_t i = 0; i < asked.size(); ++i) {
      Prediction& p = chunk[static_cast<size_t>(asked[i] - begin)];
      FillIn(p, completions[i]);
      if (!method_.routed) continue;
      p.base_weight = plan.routings[i].base_weight;
      p.expert_weights = plan.routings[i].weights;
    }
    return chunk;
  }

  void FillIn(Prediction& p, const Completion& completion) const {
    const AnswerStyle style = ParseAnswerStyle(options_.answer_style);
    const auto matching = options_.matching == "strict" ? AnswerMatching::kStrict : AnswerMatching::kFlexible;
    p.response = completion.text;
    p.answer = ExtractAnswer(completion.text, style).value_or("");
    p.correct = ResponseMatches(completion.text, p.gold, style, matching);
    p.finish_reason = FinishReasonName(completion.reason);
    p.num_tokens = static_cast<int64_t>(completion.tokens.size());
  }

  const EvalJob& job_;
  const EvalOptions& options_;
  const Method& method_;
  PredictionLog log_;
  Generator generator_;
  Progress progress_;
};

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
      answers.push_back({method->name, method->compare_with, MethodRun(job, options, *method).Run(), {}});
      if (options.loss) answers.back().losses = ResponseLosses(job, *method);
    });
  }
  const EvalReport report =
      SummariseAnswers(answers, {options.bootstrap_samples, static_cast<uint64_t>(options.seed)});
  WriteJsonFile(job.directory / "report.json", ReportJson(report));
  WriteFileAtomically(job.directory / "report.txt", ReportText(report));
  return report;
}

}  // namespace elrea
