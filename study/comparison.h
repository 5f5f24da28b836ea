// Two methods on what both did: the seeds both have, the rows both answered, the losses both measured.
#pragma once

#include <optional>
#include <vector>

#include "core/json.h"
#include "eval/statistics.h"
#include "study/row_values.h"

namespace elrea {

struct SummaryOptions {
  int64_t bootstrap_samples = 10000, permutation_samples = 10000;
  uint64_t seed = 0;
  AnswerStyle style = AnswerStyle::kAuto;
};

// A mean difference over rows, method minus reference.
struct PairedDifference {
  int64_t n = 0;
  Estimate value;
  double p = 1;  // paired permutation test, two-sided
};
Json DifferenceJson(const PairedDifference& difference);
std::string PText(double p);  // "p=0.012", or "p<0.001"

// Mean over groups of their means, and its paired permutation p.
PairedDifference ComparePaired(const Groups& differences, const SummaryOptions& options);

struct MethodComparison {
  std::vector<int64_t> seeds;                    // of both; empty: nothing else is there
  std::optional<PairedDifference> micro, macro;  // of exact match; nothing without answers to the same rows
  std::optional<PairedDifference> loss;          // nats per token
  // (micro - micro of the reference) / micro of the reference, as the paper's; 0 where the reference has none
  // right.
  double relative_gain = 0;
};

MethodComparison Compare(const MethodRecord& method, const MethodRecord& reference,
                         const SummaryOptions& options);

// (method loss - base loss) minus the same of another pair, row by row: whether one gains more over its base
// than the other does. Nothing without losses of all four under a common seed.
std::optional<PairedDifference> CompareLossGains(const MethodRecord& method, const MethodRecord& base,
                                                 const MethodRecord& other_method,
                                                 const MethodRecord& other_base,
                                                 const SummaryOptions& options);

}  // namespace elrea
