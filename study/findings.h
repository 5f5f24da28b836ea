// The paper's findings, each held against what this study measured. Nothing here is written down beforehand
// but the claims: verdicts and figures are computed from the records.
#pragma once

#include <string>
#include <vector>

#include "study/comparison.h"

namespace elrea {

enum class Verdict {
  // Some measure is on the paper's side of zero by its 95% interval and its p-value (below 0.05), and none is on the other.
  kConfirmed,
  kNotConfirmed,  // anything else that was measured
  kNotMeasured    // a method that it takes was not run, or failed
};
const char* VerdictName(Verdict verdict);  // "confirmed", "not confirmed", "not measured here"

struct Finding {
  std::string claim;
  Verdict verdict = Verdict::kNotMeasured;
  std::string evidence = "";  // differences with intervals, n and p, or what is missing
};

// `rank`: of the study's adapters.
std::vector<Finding> Findings(const std::vector<MethodRecord>& records, int64_t rank,
                              const SummaryOptions& options);

Json FindingJson(const Finding& finding);

}  // namespace elrea
