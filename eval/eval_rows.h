// Held-out rows as an evaluation needs them: the prompt's tokens, the gold answer, and the reference
// response.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/chat_template.h"

namespace elrea {

struct EvalRow {
  std::vector<int32_t> prompt;
  std::vector<int32_t>
      response;  // of the reference, or of the answer where the row has no more; ends the turn
  std::string gold;
  std::string source;
  std::string instruction = {};  // text of the last message: what is asked
};

// All rows of all files that have an answer, in order (the others are counted in a warning per file); `limit` > 0 keeps that many spread evenly over them.
// Errors as of ReadEvalRecords, and kInvalidInput without files.
std::vector<EvalRow> LoadEvalRows(const std::vector<std::string>& files, int64_t limit, const ChatTemplate& chat);

}  // namespace elrea
