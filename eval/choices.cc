#include "eval/choices.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace elrea {
namespace {

double LogSumExp(const ChoiceLogProbs& values) {
  const double most = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double value : values) sum += std::exp(value - most);
  return most + std::log(sum);
}

}  // namespace

int64_t LikeliestChoice(const EvalChoices& choices, const ChoiceLogProbs& log_probs, ChoiceNorm norm) {
  int64_t best = 0;
  double best_score = 0;
  for (size_t c = 0; c < log_probs.size(); ++c) {
    double score = log_probs[c];
    if (norm == ChoiceNorm::kPerToken) score /= static_cast<double>(choices.rest[c].size());
    if (norm == ChoiceNorm::kPerCharacter) score /= static_cast<double>(choices.num_characters[c]);
    if (c > 0 && score <= best_score) continue;
    best = static_cast<int64_t>(c);
    best_score = score;
  }
  return best;
}

double ChoiceLoss(const EvalChoices& choices, const ChoiceLogProbs& log_probs) {
  return LogSumExp(log_probs) - log_probs[static_cast<size_t>(choices.gold)];
}

std::optional<ChoiceOutcome> JudgeChoices(const EvalChoices& choices, const ChoiceLogProbs& log_probs) {
  if (log_probs.empty()) return std::nullopt;
  const auto right = [&](ChoiceNorm norm) {
    return LikeliestChoice(choices, log_probs, norm) == choices.gold;
  };
  return ChoiceOutcome{right(ChoiceNorm::kSum), right(ChoiceNorm::kPerToken),
                       right(ChoiceNorm::kPerCharacter), ChoiceLoss(choices, log_probs)};
}

bool HaveChoices(std::span<const EvalRow> rows) {
  return std::any_of(rows.begin(), rows.end(), [](const EvalRow& row) { return !row.choices.empty(); });
}

std::string ChoicesKey(const EvalChoices& choices) {
  std::string key = std::to_string(choices.gold);
  const auto add = [&](const std::vector<int32_t>& tokens) {
    for (int32_t token : tokens) key += " " + std::to_string(token);
    key += '\n';
  };
  add(choices.shared);
  for (const auto& tokens : choices.rest) add(tokens);
  for (int64_t count : choices.num_characters) key += std::to_string(count) + " ";
  return key;
}

void WriteChoices(const fs::path& path, const std::vector<ChoiceLogProbs>& log_probs) {
  Json values = Json::array();
  for (const ChoiceLogProbs& row : log_probs) values.push_back(row.empty() ? Json() : Json(row));
  WriteJsonFile(path, {{"format_version", 1}, {"log_probs", values}});
}

std::vector<ChoiceLogProbs> ReadChoices(const fs::path& path, std::span<const EvalRow> rows) {
  const Json values = JsonField<Json>(ReadVersionedJson(path), "log_probs", path.string());
  const auto fail = [&] {
    throw Error(ErrorKind::kCorrupt,
                path.string() + ": not one log-probability per choice; delete this file and evaluate again");
  };
  if (!values.is_array() || values.size() != rows.size()) fail();
  std::vector<ChoiceLogProbs> log_probs(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (values[i].is_null()) continue;
    if (!values[i].is_array() || values[i].size() != rows[i].choices.rest.size()) fail();
    for (const Json& value : values[i]) {
      if (!value.is_number()) fail();
      log_probs[i].push_back(value.get<double>());
    }
  }
  return log_probs;
}

}  // namespace elrea
