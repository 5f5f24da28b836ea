#include "eval/response_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

constexpr int64_t kRowsPerRouting = 64;

double RowLoss(const Decoder& decoder, const std::vector<MixtureMember>& members, const EvalRow& row) {
  std::vector<int32_t> tokens = row.prompt;
  tokens.insert(tokens.end(), row.response.begin(), row.response.end());
  const std::vector<float> log_probs = ScoreTokens(decoder, members, tokens);  // of tokens[1..]
  double sum = 0;
  for (size_t i = row.prompt.size() - 1; i < log_probs.size(); ++i) sum -= log_probs[i];
  return sum / static_cast<double>(row.response.size());
}

bool Fits(const Decoder& decoder, const EvalRow& row) {
  return static_cast<int64_t>(row.prompt.size() + row.response.size()) <= decoder.config().context_length;
}

std::vector<double> Measure(const EvalJob& job, const Method& method) {
  const Decoder& decoder = job.ensemble->decoder();
  const auto num_rows = static_cast<int64_t>(job.rows.size());
  std::vector<double> losses(job.rows.size(), std::numeric_limits<double>::quiet_NaN());
  Progress progress("loss " + method.name, num_rows, "rows");
  for (int64_t begin = 0; begin < num_rows; begin += kRowsPerRouting) {
    std::vector<size_t> fitting;
    std::vector<std::span<const int32_t>> prompts;
    for (int64_t i = begin; i < std::min(begin + kRowsPerRouting, num_rows); ++i) {
      const EvalRow& row = job.rows[static_cast<size_t>(i)];
      if (!Fits(decoder, row)) continue;
      fitting.push_back(static_cast<size_t>(i));
      prompts.emplace_back(row.prompt);
    }
    const MethodPlan plan = PlanMethod(method, *job.ensemble, prompts);
    for (size_t i = 0; i < fitting.size(); ++i) {
      losses[fitting[i]] = RowLoss(decoder, plan.members[i], job.rows[fitting[i]]);
      progress.Add(1);
    }
  }
  return losses;
}

}  // namespace

std::vector<double> ResponseLosses(const EvalJob& job, const Method& method) {
  const fs::path path = job.directory / (method.name + ".loss.json");
  if (!fs::exists(path)) {
    Json values = Json::array();
    for (double loss : Measure(job, method)) values.push_back(std::isnan(loss) ? Json() : Json(loss));
    WriteJsonFile(path, {{"format_version", 1}, {"nats_per_token", values}});
  }
  const Json values = JsonField<Json>(ReadVersionedJson(path), "nats_per_token", path.string());
  if (!values.is_array() || values.size() != job.rows.size()) {
    throw Error(ErrorKind::kCorrupt,
                path.string() + ": not one loss per row; delete this file and evaluate again");
  }
  std::vector<double> losses;
  for (const Json& value : values) {
    losses.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  return losses;
}

}  // namespace elrea
