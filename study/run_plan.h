// From a method's plan to what it did on the held-out rows: answers, losses and what they cost, each in a
// folder named after all it depends on.
#pragma once

#include <string>
#include <vector>

#include "eval/choice_likelihood.h"
#include "eval/predictions.h"
#include "eval/response_loss.h"
#include "study/method.h"

namespace elrea {

// A held-out row whose choices were scored by likelihood.
struct ScoredChoices {
  int64_t row = 0;
  std::string source;
  ChoiceOutcome outcome;
  std::string task = {};
};

// States that methods of one bench share, so that weighing the same adapters otherwise needs no further pass.
struct StudyCache {
  HiddenCache responses, choices;
};

// One method under one seed.
struct MethodOutcome {
  std::vector<Prediction> predictions;  // of the answered rows, `row` counts among all held-out rows
  std::vector<double> losses;  // [held-out rows] nats per token, NaN where not measured; empty: has none
  std::vector<ScoredChoices> choices;  // of the rows that have some; the same rows under every method
  std::vector<std::vector<double>>
      weights;              // [held-out rows][base, experts...] of a routed method, else empty
  double train_s = 0;       // of all adapters and features it stands on
  double decode_s = 0;      // of answering, routing from stored features aside; 0 when nothing is answered
  uint64_t peak_bytes = 0;  // while answering: of tensors on a GPU, else resident; 0 likewise
};

// `cache` serves all plans of one bench. Answers the method's StudyAnsweredRows. Errors as of AnswerRows.
MethodOutcome RunPlan(const Workbench& bench, const StudyMethod& method, const StudyPlan& plan,
                      StudyCache& cache);

}  // namespace elrea
