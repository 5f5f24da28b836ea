// Held-out rows as an evaluation needs them: the prompt's tokens, the gold answer, and the reference
// response.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/chat_template.h"
#include "eval/eval_options.h"

namespace elrea {

// The answers a row leaves to choose from, as tokens of a response: lead and choice are tokenised as one text.
struct EvalChoices {
  std::vector<int32_t> shared;             // what all choices begin with, the lead at least in most tokenizers
  std::vector<std::vector<int32_t>> rest;  // [choices] what is each one's own: one token at least
  std::vector<int64_t> num_characters;     // [choices] Unicode characters of the choice's text
  int64_t gold = 0;
  bool empty() const { return rest.empty(); }
};

struct EvalRow {
  std::vector<int32_t> prompt;
  std::vector<int32_t>
      response;  // of the reference, or of the answer where the row has no more; ends the turn
  std::string gold;
  std::string source;
  std::string instruction = {};  // text of the last message: what is asked
  int64_t examples_given = 0, examples_shown = 0;  // worked examples of the row, and those that fit
  int64_t max_new_tokens = 0;                      // 0: as the generation's options say
  EvalChoices choices = {};                        // empty: the row has none
  std::string task = {};                           // the part of the source it belongs to; empty: none is said
};

// All rows of all files that have an answer, in order (the others are counted in a warning per file); `limit` > 0 keeps that many spread evenly over them.
// Errors as of ReadEvalRecords, and kInvalidInput without files or for an entry of options.*_of that is not SOURCE=N.
std::vector<EvalRow> LoadEvalRows(const std::vector<std::string>& files, const EvalOptions& options,
                                  const ChatTemplate& chat);

// How many worked examples the rows of a source have, and how many their prompts show.
struct ExampleUse {
  int64_t rows = 0, rows_cut = 0;  // with examples; of these, with fewer than given
  int64_t given = 0, shown = 0;    // over these rows
};
std::map<std::string, ExampleUse> CountExamples(std::span<const EvalRow> rows);  // sources with examples only
Json ExampleUseJson(const std::map<std::string, ExampleUse>& uses);
std::string ExampleUseText(const std::map<std::string, ExampleUse>& uses);  // a table; empty without examples

}  // namespace elrea
