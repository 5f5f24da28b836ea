// Evaluation of methods on held-out rows: exact match of the generated answers, and on request the loss of
// the reference responses. Answers go to one JSONL file per method; see eval/report.h for what is made of
// them.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/chat_template.h"
#include "ensemble/ensemble.h"
#include "eval/eval_rows.h"
#include "eval/report.h"

namespace elrea {

struct EvalOptions {
  std::vector<std::string> methods = {"backbone", "base", "ensemble"};
  int64_t limit = 0;
  int64_t chunk_rows = 128;
  std::string answer_style = "auto";
  std::string matching = "flexible";
  bool loss = false;
  int64_t bootstrap_samples = 10000;
  int64_t seed = 0;
};
template <typename Visitor>
void VisitOptions(EvalOptions& o, Visitor& v) {
  v.Field("methods", o.methods, "who answers: backbone, base, ensemble");
  v.Field("limit", o.limit, "rows evaluated at most, spread evenly over the files; 0 = all", AtLeast(0));
  v.Field("chunk_rows", o.chunk_rows,
          "rows answered together and saved together; a killed evaluation loses at most one chunk",
          AtLeast(1));
  v.Field("answer_style", o.answer_style, "how an answer is found in a text",
          OneOf({"auto", "boxed", "hashes", "phrase", "choice", "number", "whole"}));
  v.Field("matching", o.matching, "strict: the same bytes; flexible: the same value however it is written",
          OneOf({"strict", "flexible"}));
  v.Field("loss", o.loss, "also measure the mean loss of the reference responses");
  v.Field("bootstrap_samples", o.bootstrap_samples, "draws behind the intervals of averages and differences",
          AtLeast(0));
  v.Field("seed", o.seed, "of those draws", AtLeast(0));
}

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
