// From what every method did under every seed to figures: averages with 95% intervals, paired differences
// from the base adapter with p-values, and costs. Rows are the units: a row's value is its mean over the
// seeds, so that more seeds narrow nothing but the noise of training; the seeds' own figures stand beside.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/comparison.h"

namespace elrea {

// Over the rows of one source.
struct SourceEstimate : Estimate {
  int64_t n = 0;
};
using BySourceEstimates = std::map<std::string, SourceEstimate>;

// Rows with choices, scored by likelihood; `micro` and `macro` by the sum over the choice's tokens.
struct ChoiceSummary {
  int64_t n = 0;
  Estimate micro, macro;
  double per_token = 0, per_character = 0;  // micro averages under the other norms
  Estimate loss;                            // nats, ChoiceLoss
  BySourceEstimates by_source, by_task;     // by_task: of the rows that belong to one
  std::optional<PairedDifference> micro_gain, macro_gain, loss_change;  // against `base`
};

struct MethodSummary {
  std::string name, help, origin, failure;
  std::vector<int64_t> seeds;
  int64_t num_answered = 0, num_losses = 0;  // rows behind the figures
  std::optional<Estimate> micro, macro;      // exact match, flexible; nothing when no row was answered
  double strict = 0;                         // exact match of the same bytes, mean over rows
  BySourceEstimates by_source, by_task;  // by_task: of the rows that belong to one
  std::optional<Estimate> loss;  // nats per token, mean over rows
  std::optional<ChoiceSummary> choices;
  // Against `base`, on the rows that both answered; nothing for base itself, or when base failed.
  std::optional<PairedDifference> micro_gain, macro_gain, loss_change;
  std::optional<Estimate> relative_gain, relative_loss;  // as MethodComparison's
  std::vector<double> seed_micro, seed_macro, seed_loss;  // in the order of `seeds`; NaN without
  double train_s = 0, decode_s = 0;                       // means over the seeds
  uint64_t peak_bytes = 0;                                // largest
};

// In the order of the records. Methods without any outcome keep their name and failure only.
std::vector<MethodSummary> Summarise(const std::vector<MethodRecord>& records, const SummaryOptions& options);

// The ensemble compared with another central method.
struct Rival {
  std::string name;
  MethodComparison comparison;
};
// All that were run under common seeds; none when the ensemble failed or was not run.
std::vector<Rival> EnsembleAgainst(const std::vector<MethodRecord>& records, const SummaryOptions& options);
Json RivalsJson(const std::vector<Rival>& rivals);

// "12.3 [10.1, 14.5]" per cent, or "-".
std::string PointsText(const std::optional<Estimate>& estimate);
// "+12.3% [+10.1, +14.5]", or nothing.
std::string ShareText(const std::optional<Estimate>& estimate);
// "math (n=120)", the columns of tables per source.
std::vector<std::string> SourceHeaders(const BySourceEstimates& by_source);
// Of each source the mean over its rows.
BySourceEstimates EstimateBySource(const std::map<std::string, std::vector<double>>& values, const SummaryOptions& options);
Json EstimateJson(const Estimate& estimate);
Json BySourceJson(const BySourceEstimates& by_source);  // each with its n
// What a reader must know of sources with few rows; empty where all have enough.
std::string FewRowsText(const BySourceEstimates& by_source);

// "done", "incomplete" (some seeds failed), "failed".
const char* StatusName(const MethodSummary& summary);
// The sources of the rows that the first answering method answered; central ones answer all that any does.
const BySourceEstimates& AnsweredSources(const std::vector<MethodSummary>& summaries);

Json SummaryJson(const MethodSummary& summary);
// Two tables in plain text: figures against the base, and exact match per source.
std::string SummaryText(const std::vector<MethodSummary>& summaries);

}  // namespace elrea
