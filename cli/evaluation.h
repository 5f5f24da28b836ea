// The evaluation stage, for a run's methods or for a single model, with or without an adapter.
#pragma once

#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/run.h"
#include "eval/evaluate.h"

namespace elrea {

struct EvaluationRequest {
  TargetFlags target;
  std::vector<std::string> overrides;
  std::vector<std::string> methods;  // empty: eval.methods of the run
  std::vector<std::string> files;    // empty: the run's test rows
  fs::path directory;                // empty: the run's eval/
  PredictionCallback on_chunk;
};

// Errors as of OpenDecodingResponder, LoadEvalRows and Evaluate.
EvalReport EvaluateTarget(const EvaluationRequest& request);

// The last stage of a pipeline. REQUIRES: the stages before it are done.
EvalReport EvaluateRun(const Run& run);

}  // namespace elrea
