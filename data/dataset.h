// From files of instruction rows to token rows with a ledger of every row's fate (method 1: response-only
// loss, rows over the length limit discarded, counted and reported, never cut).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/chat_template.h"
#include "data/ledger.h"
#include "data/records.h"
#include "data/row_texts.h"
#include "data/token_row.h"

namespace elrea {

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
          "training files: JSONL, CSV or TSV, also gzip or zstd, or Parquet; {instruction,input,output}, "
          "{messages} or "
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
  std::vector<std::string> sources;       // source_id -> name
  std::shared_ptr<const RowTexts> texts;  // same order as rows; null where the rows were not kept in a file
};

using TokenisedRowSink =
    std::function<void(const ExampleRecord& record, std::span<const int32_t> tokens, int64_t num_prompt)>;

// Reads, checks and tokenises all files, in order, one row in memory at a time and some 60 bytes of each to
// know duplicates by, and hands on the usable ones. A row's fates are tried in this order: malformed, empty,
// duplicate (of a row of any file before it), over-long. kInvalidInput, naming the files and the fates, when
// a file is empty or too many of its lines are malformed, and when no row at all is usable; kNotFound for a
// missing file.
DataLedger TokeniseFiles(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat,
                         const TokenisedRowSink& sink);

// The same, with the tokens in memory and without the texts.
Dataset LoadDataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat);

// Where rows are kept: their lines, and beside them what was tokenised of them.
struct DatasetPlace {
  fs::path folder;
  std::string name;
  fs::path rows() const { return folder / (name + ".jsonl"); }
  fs::path tokens() const { return folder / (name + ".tokens"); }
};

// What WriteDataset left.
struct WrittenDataset {
  std::string checksum;  // of the file of rows
  DataLedger ledger;
};

// Writes the usable rows of the files and their tokens. Errors as of TokeniseFiles; then nothing is written.
WrittenDataset WriteDataset(const DatasetOptions& options, const Tokenizer& tokenizer,
                            const ChatTemplate& chat, const DatasetPlace& place);

// Rows that WriteDataset wrote, whose file has `checksum`. Their tokens are mapped, not read into memory;
// they are made again when the file of tokens is missing, damaged or of another tokenizer, template or length
// limit. kCorrupt when a row is none under these.
Dataset OpenDataset(const DatasetPlace& place, const std::string& checksum, int64_t max_tokens,
                    const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace elrea
