// Two methods on what both did: the seeds both have, the rows both answered, the losses both measured.
#pragma once

#include <optional>
#include <string>
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
// "+1.9 [+0.5, +3.1] p=0.006", all but p times `factor`; empty where there is no difference.
std::string DifferenceText(const std::optional<PairedDifference>& difference, double factor, int digits);
// 1: above zero, -1: below, 0: neither is shown. The interval and p < 0.05 must agree, as near the border one of them alone
// is often mistaken.
int ShownSide(const PairedDifference& difference);

// Mean over groups of their means, and its paired permutation p.
PairedDifference ComparePaired(const Groups& differences, const SummaryOptions& options);

struct MethodComparison {
  std::vector<int64_t> seeds;                    // of both; empty: nothing else is there
  std::optional<PairedDifference> micro, macro;  // of exact match; nothing without answers to the same rows
  std::optional<PairedDifference> loss;          // nats per token
  // Shares of the reference's: of its micro average, as the paper's, where it has any right, and of its mean loss.
  std::optional<Estimate> relative_gain, relative_loss;
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
