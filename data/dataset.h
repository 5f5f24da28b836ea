// From files of instruction rows to token rows with a ledger of every row's fate (method 1: response-only
// loss, rows over the length limit discarded, counted and reported, never cut).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/chat_template.h"
#include "data/ledger.h"
#include "data/records.h"

namespace elrea {

// One tokenised row. tokens[0, num_prompt) is the instruction, the rest the response.
struct TokenRow {
  std::vector<int32_t> tokens;
  int64_t num_prompt = 0;
  int32_t source_id = 0;
};

struct DatasetOptions {
  std::vector<std::string> files;
  std::vector<std::string> columns = {};
  std::string chat_template = "auto";
  int64_t max_tokens = 2048;
  bool drop_duplicates = true;
  double max_malformed_fraction = 0.5;
};

template <typename Visitor>
void VisitOptions(DatasetOptions& o, Visitor& v) {
  v.Field("files", o.files,
          "training files: JSONL, CSV or TSV, also gzip or zstd, or Parquet; {instruction,input,output}, {messages} or "
          "{conversations}, optional source");
  v.Field(
      "columns", o.columns,
      "other names of columns: instruction=question, output=answer; also input, answer, source, messages");
  v.Field("chat_template", o.chat_template, "auto, or the family's name");
  v.Field("max_tokens", o.max_tokens, "longer rows are left out and counted", AtLeast(2));
  v.Field("drop_duplicates", o.drop_duplicates, "keep only the first of equal (instruction, response) rows");
  v.Field("max_malformed_fraction", o.max_malformed_fraction,
          "a larger share of malformed lines in one file is an error", Between(0, 1));
}

struct Dataset {
  std::vector<TokenRow> rows;
  std::vector<ExampleRecord> records;  // same order as rows
  std::vector<std::string> sources;    // source_id -> name
  DataLedger ledger;
};

// Reads, checks and tokenises all files, in order. A row's fates are tried in this order: malformed, empty,
// duplicate (of a row of any file before it), over-long. kInvalidInput, naming the files and the fates, when
// a file is empty or too many of its lines are malformed, and when no row at all is usable; kNotFound for a
// missing file.
Dataset LoadDataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace elrea
