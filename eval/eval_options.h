// What an evaluation does beside answering (configuration section `eval`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/options.h"

namespace elrea {

struct EvalOptions {
  std::vector<std::string> methods = {"backbone", "base", "ensemble"};
  int64_t limit = 0;
  int64_t chunk_rows = 128;
  int64_t max_instruction_tokens = 1200;
  std::vector<std::string> max_instruction_tokens_of = {"mmlu=1800"};
  std::vector<std::string> max_new_tokens_of = {};
  std::string answer_style = "auto";
  std::string matching = "flexible";
  bool loss = false;
  bool likelihood = true;
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
  v.Field("max_instruction_tokens", o.max_instruction_tokens,
          "worked examples of a row are dropped one by one until its prompt has no more tokens; 0 = none is",
          AtLeast(0));
  v.Field("max_instruction_tokens_of", o.max_instruction_tokens_of,
          "the same for single sources: SOURCE=N, where mmlu also stands for mmlu/...");
  v.Field("max_new_tokens_of", o.max_new_tokens_of,
          "generation.max_new_tokens for single sources: SOURCE=N, as above");
  v.Field("answer_style", o.answer_style, "how an answer is found in a text",
          OneOf({"auto", "boxed", "hashes", "phrase", "choice", "number", "whole"}));
  v.Field("matching", o.matching, "strict: the same bytes; flexible: the same value however it is written",
          OneOf({"strict", "flexible"}));
  v.Field("loss", o.loss, "also measure the mean loss of the reference responses");
  v.Field("likelihood", o.likelihood,
          "also score the choices of rows that have some by their log-probabilities: one pass over the prompt");
  v.Field("bootstrap_samples", o.bootstrap_samples, "draws behind the intervals of averages and differences",
          AtLeast(0));
  v.Field("seed", o.seed, "of those draws", AtLeast(0));
}

}  // namespace elrea
