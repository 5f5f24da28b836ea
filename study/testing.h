// Records of methods that never ran, for the tests of statistics.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "study/row_values.h"

namespace elrea {

// Answers to rows 0, 1, ...: the first four are of source "sums", the others of "words". correct[i]: 1 or 0.
inline MethodOutcome OutcomeOf(const std::vector<int>& correct, const std::vector<double>& losses) {
  MethodOutcome outcome;
  for (size_t i = 0; i < correct.size(); ++i) {
    Prediction p;
    p.row = static_cast<int64_t>(i);
    p.source = i < 4 ? "sums" : "words";
    p.gold = "1";
    p.response = correct[i] ? "1" : "2";
    p.correct = correct[i] != 0;
    outcome.predictions.push_back(p);
  }
  outcome.losses = losses;
  outcome.train_s = 10;
  return outcome;
}

inline MethodRecord RecordOf(const std::string& name, std::map<int64_t, MethodOutcome> outcomes) {
  return {name, "help", "paper", std::move(outcomes), ""};
}

}  // namespace elrea
