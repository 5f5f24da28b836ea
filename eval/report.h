// From the answers of several methods on the same rows to a table: exact match per source and on average with
// 95% intervals, and paired differences between methods.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/choices.h"
#include "eval/eval_rows.h"
#include "eval/predictions.h"
#include "eval/statistics.h"

namespace elrea {

// What one method did on every row, in row order.
struct MethodAnswers {
  std::string method;
  std::string compare_with;  // another method of the report, or empty
  std::vector<Prediction> predictions;
  std::vector<double>
      losses;  // [rows] nats per token of the references, NaN where not measured; empty: none was
  std::vector<std::optional<ChoiceOutcome>> choices = {};  // [rows] by likelihood; empty: none was scored
};

struct ScoreCell {
  int64_t n = 0, correct = 0;
  double accuracy = 0;
  Interval interval;  // 95%, Wilson
};

// Rows whose choices were scored by likelihood.
struct ChoiceScore {
  ScoreCell micro;                          // the likeliest choice is right, by the sum over its tokens
  std::map<std::string, ScoreCell> by_source;
  Estimate macro;                           // mean over sources
  double per_token = 0, per_character = 0;  // shares of right choices under the other norms
  double loss = 0;                          // mean nats, ChoiceLoss
};

struct MethodScore {
  std::string method;
  std::vector<ScoreCell> by_source;  // in the order of EvalReport::sources
  ScoreCell micro;                   // over all rows
  Estimate macro;                    // mean over sources; bootstrap interval
  std::optional<double> loss;        // mean over rows of the mean nats per response token
  std::optional<ChoiceScore> choices;
};

struct Comparison {
  std::string method, with;
  int64_t gained = 0, lost = 0;       // rows that only `method`, or only `with`, has right
  Estimate micro = {}, macro = {};    // differences of exact match, paired bootstrap
  std::optional<Estimate> loss = {};  // difference in nats per token; negative is better
  std::optional<Estimate> choice_macro = {}, choice_loss = {};  // of the likeliest choices, and of ChoiceLoss
};

struct EvalReport {
  int64_t num_rows = 0;
  int64_t num_over_long = 0;         // rows whose prompt does not fit the context; they count as wrong
  std::vector<std::string> sources;  // by first appearance
  std::vector<MethodScore> scores;
  std::vector<Comparison> comparisons;
  std::map<std::string, ExampleUse> examples = {};  // by source
};

struct ReportOptions {
  int64_t bootstrap_samples = 10000;
  uint64_t seed = 0;
};

// REQUIRES: at least one method; all have the same rows; a `compare_with` that is not there is left out.
EvalReport SummariseAnswers(const std::vector<MethodAnswers>& methods, const ReportOptions& options);

Json ReportJson(const EvalReport& report);
std::string ReportText(const EvalReport& report);  // plain text, at most 110 columns for three methods

}  // namespace elrea
