// All methods under all seeds on the same rows, prompts, extraction and seeds; read study.cc first.
#pragma once

#include <string>
#include <vector>

#include "study/findings.h"
#include "study/summary.h"

namespace elrea {

struct StudyResult {
  std::vector<MethodRecord> records;
  std::vector<MethodSummary> summaries;
  std::vector<Rival> rivals;      // of the ensemble
  std::vector<Finding> findings;  // of the paper
};

// Runs what is missing, in the order seed by seed, method by method, and writes results.json, results.txt and
// report.html in the study's folder. A method that fails is listed with its reason and leaves the others
// whole. Stopped at any moment, the next call goes on. kInvalidInput for an unknown method (before anything
// runs), no seeds or no held-out rows.
StudyResult RunStudy(const StudyJob& job);

}  // namespace elrea
