// Evaluation of methods on held-out rows: exact match of the generated answers, and on request the loss of
// the reference responses. Answers go to one JSONL file per method; see eval/report.h for what is made of
// them.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "ensemble/ensemble.h"
#include "eval/eval_options.h"
#include "eval/eval_rows.h"
#include "eval/report.h"

namespace elrea {

// Called with each chunk of answers, those of an earlier session included, in row order per method.
using PredictionCallback = std::function<void(const std::string& method, std::span<const Prediction> chunk)>;

struct EvalJob {
  Ensemble* ensemble;  // with what the methods need
  const Tokenizer* tokenizer;
  const ChatTemplate* chat;
  std::vector<EvalRow> rows;
  SamplingOptions sampling;
  std::filesystem::path directory;
  // Method name -> what its answers depend on (checksums of backbone and adapters, routing options): what a
  // resumed evaluation of that method must match, beside the decoding weights.
  Json identities = Json::object();
  PredictionCallback on_chunk = {};
  const PackedWeights* packed = nullptr;  // as for Generator
};

// Writes <method>.jsonl, report.json and report.txt in the directory, going on where an earlier session
// stopped. kInvalidInput when the directory holds the evaluation of other rows, adapters or options (names
// what differs), or for an unknown method.
EvalReport Evaluate(const EvalJob& job, const EvalOptions& options);

}  // namespace elrea
