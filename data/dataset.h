// From files of instruction rows to token rows with a ledger of every row's fate (method 1: response-only loss, rows
// over the length limit discarded, counted and reported, never cut).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/chat_template.h"

namespace elrea {

// One usable row of a data file.
struct ExampleRecord {
  std::vector<ChatMessage> prompt;  // everything before the answer that is learnt
  std::string response;
  std::string source;  // the row's "source" field, or the file's stem
  std::string file;
  int64_t line = 0;  // 1-based
};

// One tokenised row. tokens[0, num_prompt) is the instruction, the rest the response.
struct TokenRow {
  std::vector<int32_t> tokens;
  int64_t num_prompt = 0;
  int32_t source_id = 0;
};

enum class RowFate { kKept, kOverLong, kEmptyResponse, kEmptyInstruction, kDuplicate, kMalformed };

// Counts per source and fate, with the first few offending lines of each kind.
class DataLedger {
 public:
  void Count(const std::string& source, RowFate fate, const std::string& file, int64_t line, const std::string& why = "");
  int64_t Total(RowFate fate) const;
  Json ToJson() const;
  std::string ToTable() const;  // shown before training starts

 private:
  struct Culprit { std::string file; int64_t line; RowFate fate; std::string why; };
  std::vector<std::pair<std::string, std::vector<int64_t>>> counts_;  // by first appearance of the source
  std::vector<Culprit> culprits_;
};

struct DatasetOptions {
  std::vector<std::string> files;
  std::string chat_template = "auto";
  int64_t max_tokens = 2048;
  bool drop_duplicates = true;
  double max_malformed_fraction = 0.5;
};

template <typename Visitor>
void VisitOptions(DatasetOptions& o, Visitor& v) {
  v.Field("files", o.files, "training files, JSONL: {instruction,input,output} or {messages}, optional source");
  v.Field("chat_template", o.chat_template, "auto, or the family's name");
  v.Field("max_tokens", o.max_tokens, "longer rows are left out and counted");
  v.Field("drop_duplicates", o.drop_duplicates, "keep only the first of equal (instruction, response) rows");
  v.Field("max_malformed_fraction", o.max_malformed_fraction, "more malformed lines than this is an error");
}

struct Dataset {
  std::vector<TokenRow> rows;
  std::vector<ExampleRecord> records;  // same order as rows
  std::vector<std::string> sources;    // source_id -> name
  DataLedger ledger;
};

// Reads, checks and tokenises all files, in order. kInvalidInput when nothing usable remains or too many lines are
// malformed; kNotFound for a missing file.
Dataset LoadDataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace elrea
