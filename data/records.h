// Rows of JSONL files as records: training rows with a response, and prompts to answer or to score.
//
// Shapes of a line, all with an optional "source":
//   {"instruction" | "prompt": P, "input" | "context": I, "output" | "response" | "answer": R}
//       the prompt is P, or P + "\n\n" + I; of several response keys the first in this order counts
//   {"messages": [{"role", "content"}, ...]}, {"conversations": [{"from", "value"}, ...]} (ShareGPT), or
//   {"prompt": {"role", "text", "replies": [...]}} (a tree of OASST, along its best-ranked replies)
//       training: the last assistant message is the response, what is before it the prompt, what is after it
//       unused; prompts to answer: all messages, without the last one when that is the assistant's
// Rows to answer may also have
//   "few_shot": {"description": D, "examples": [E, ...]}
//       worked examples as whole texts, kept apart from the question so that fewer may be shown (few_shot.h)
//   "choices": [C, ...], "choice_lead": L
//       the answers to choose from, one of which is the row's answer, and the text of a response before them
// Keys that are null count as absent, other keys are ignored. Tokens are not made here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/files.h"
#include "data/chat_template.h"
#include "data/ledger.h"
#include "data/row_files.h"

namespace elrea {

// One usable row of a data file.
struct ExampleRecord {
  std::vector<ChatMessage> prompt;  // everything before the answer that is learnt
  std::string response;
  std::string source;  // the row's "source" field, or the file's stem
  std::string file;
  int64_t line = 0;  // 1-based
};

// The line that ParseExampleRow reads back to the same prompt, response and source, with the record's place as "origin".
std::string RowLine(const ExampleRecord& record);

// One prompt to answer or to score.
struct EvalRecord {
  std::vector<ChatMessage> messages;  // ends with what the model is to answer
  std::optional<std::string> answer;  // "answer", else the short answer found in the row's response
  std::string description;            // of the task, before the examples
  std::vector<std::string> examples;  // each a whole text: question and answer
  std::vector<std::string> choices;   // empty, or two at least, all different
  std::string choice_lead;            // "The answer is (" where the choices are letters
  int64_t gold_choice = -1;           // index of the choice that is the answer; -1 without choices
  std::string source;                 // as in ExampleRecord
  std::string task;                   // the part of the source it belongs to; empty: none is said
  std::string file;
  int64_t line = 0;  // 1-based
};

// Why a line is not a record, and the source it belongs to as far as that can be told.
struct RowFault {
  RowFate fate;
  std::string why;
  std::string source;
};

// `line` without its end; `file` and `number` (1-based) go into the record. Never throws for what the line
// holds.
std::variant<ExampleRecord, RowFault> ParseExampleRow(std::string_view line, const std::string& file,
                                                      int64_t number);
std::variant<EvalRecord, RowFault> ParseEvalRow(std::string_view line, const std::string& file,
                                                int64_t number);

// The keys of a line that mean something here; all others are ignored.
const std::vector<std::string>& RowKeys();

struct EvalFile {
  std::vector<EvalRecord> records;
  DataLedger ledger;
};

struct EvalReadOptions {
  bool need_answer = false;  // a row without a gold answer is malformed
  int64_t limit = 0;         // records read at most; 0: all
  ColumnMap columns = {};
};

// Reads a file of prompts in order. Bad lines are counted in the ledger; kInvalidInput, naming the file and
// the first bad lines, when the file is empty or no line is usable. kNotFound for a missing file.
EvalFile ReadEvalRecords(const fs::path& path, const EvalReadOptions& options = {});

// Calls `row(number, text)` for every line that is not blank, without a byte order mark at the start of the
// file. Returns the number of rows. kNotFound for a missing file. `position`: of the file, in bytes.
int64_t ForEachRow(const fs::path& path, const std::function<void(int64_t number, std::string_view text)>& row,
                   const std::function<void(int64_t bytes)>& position = {});

// The error for a file whose rows are (nearly) all unusable: its name, the fates, the first reasons, what to
// do.
[[noreturn]] void ThrowUnusableFile(const fs::path& path, const DataLedger& ledger,
                                    const std::string& complaint);

}  // namespace elrea
