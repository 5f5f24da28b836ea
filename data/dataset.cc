// Two passes: read and check every line of every file, then tokenise what is usable.
#include "data/dataset.h"

#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"

namespace elrea {
namespace {

// Tells rows whose prompt and response were seen before. Equal hashes are compared in full, so no row is lost
// to a collision.
class DuplicateFinder {
 public:
  // An equal earlier record; nullptr when `record` is new, and then it is remembered.
  // REQUIRES: `records` only grows, and the record is appended to it at once when nullptr was returned.
  const ExampleRecord* FindOrAdd(const ExampleRecord& record, const std::vector<ExampleRecord>& records) {
    std::string key = record.response;
    for (const ChatMessage& message : record.prompt) key += '\0' + message.role + '\0' + message.content;
    const uint64_t hash = Checksum(key);
    auto [begin, end] = seen_.equal_range(hash);
    for (auto entry = begin; entry != end; ++entry) {
      if (IsEqual(records[entry->second], record)) return &records[entry->second];
    }
    seen_.emplace(hash, records.size());
    return nullptr;
  }

 private:
  static bool IsEqual(const ExampleRecord& a, const ExampleRecord& b) {
    if (a.response != b.response || a.prompt.size() != b.prompt.size()) return false;
    for (size_t i = 0; i < a.prompt.size(); ++i) {
      if (a.prompt[i].role != b.prompt[i].role || a.prompt[i].content != b.prompt[i].content) return false;
    }
    return true;
  }
  std::unordered_multimap<uint64_t, size_t> seen_;
};

void CheckMalformed(const std::string& file, int64_t num_rows, int64_t num_malformed, double max_fraction,
                    const DataLedger& ledger) {
  if (num_rows == 0) {
    throw Error(ErrorKind::kInvalidInput, file + " is empty: expected one JSON object a line");
  }
  if (static_cast<double>(num_malformed) > max_fraction * static_cast<double>(num_rows)) {
    ThrowUnusableFile(
        file, ledger,
        FormatCount(num_malformed) + " of its " + FormatCount(num_rows) + " lines are malformed");
  }
}

// All usable records of the files; the others go to the ledger.
std::vector<ExampleRecord> ReadRecords(const DatasetOptions& options, DataLedger& ledger) {
  std::vector<ExampleRecord> records;
  const ColumnMap columns = ParseColumns(options.columns);
  DuplicateFinder duplicates;
  for (const std::string& file : options.files) {
    const int64_t malformed_before = ledger.Total(RowFate::kMalformed);
    const auto malformed = [&](int64_t number, const std::string& why) {
      ledger.Count(DataFileStem(file), RowFate::kMalformed, file, number, why);
    };
    const auto row = [&](int64_t number, std::string_view text) {
      auto parsed = ParseExampleRow(text, file, number);
      if (auto* fault = std::get_if<RowFault>(&parsed)) {
        ledger.Count(fault->source, fault->fate, file, number, fault->why);
        return;
      }
      ExampleRecord& record = std::get<ExampleRecord>(parsed);
      if (options.drop_duplicates) {
        if (const ExampleRecord* first = duplicates.FindOrAdd(record, records)) {
          ledger.Count(record.source, RowFate::kDuplicate, file, number,
                       "equal to " + first->file + ":" + std::to_string(first->line));
          return;
        }
      }
      records.push_back(std::move(record));
    };
    const int64_t num_rows = ForEachDataRow(file, columns, {row, malformed});
    CheckMalformed(file, num_rows, ledger.Total(RowFate::kMalformed) - malformed_before,
                   options.max_malformed_fraction, ledger);
  }
  return records;
}

// The tokens of one record; nothing, with the fate counted, when it is over-long or its family cannot express
// it.
std::optional<TokenRow> Tokenise(const ExampleRecord& record, const ChatTemplate& chat, int64_t max_tokens,
                                 DataLedger& ledger) {
  TokenRow row;
  try {
    row.tokens = chat.EncodePrompt(record.prompt);
    row.num_prompt = static_cast<int64_t>(row.tokens.size());
    const std::vector<int32_t> response = chat.EncodeResponse(record.response);
    row.tokens.insert(row.tokens.end(), response.begin(), response.end());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInvalidInput) throw;
    ledger.Count(record.source, RowFate::kMalformed, record.file, record.line, error.message());
    return std::nullopt;
  }
  const int64_t num_tokens = static_cast<int64_t>(row.tokens.size());
  if (num_tokens > max_tokens) {
    ledger.Count(record.source, RowFate::kOverLong, record.file, record.line,
                 FormatCount(num_tokens) + " tokens, the limit is " + FormatCount(max_tokens));
    return std::nullopt;
  }
  return row;
}

void CheckVocabulary(const TokenRow& row, const Tokenizer& tokenizer) {
  for (int32_t token : row.tokens) {
    if (token < 0 || token >= tokenizer.vocab_size()) {
      throw Error(ErrorKind::kInternal, "token " + std::to_string(token) + " is outside the vocabulary of " +
                                            std::to_string(tokenizer.vocab_size()) +
                                            ": the chat template was made for another tokenizer");
    }
  }
}

void TokeniseAll(std::vector<ExampleRecord> records, const DatasetOptions& options,
                 const Tokenizer& tokenizer, const ChatTemplate& chat, Dataset& dataset) {
  std::unordered_map<std::string, int32_t> source_ids;
  Progress progress("tokenise", static_cast<int64_t>(records.size()), "rows");
  for (ExampleRecord& record : records) {
    auto row = Tokenise(record, chat, options.max_tokens, dataset.ledger);
    progress.Add(1);
    if (!row) continue;
    CheckVocabulary(*row, tokenizer);
    auto [source, is_new] =
        source_ids.try_emplace(record.source, static_cast<int32_t>(dataset.sources.size()));
    if (is_new) dataset.sources.push_back(record.source);
    row->source_id = source->second;
    dataset.ledger.Count(record.source, RowFate::kKept, record.file, record.line);
    dataset.rows.push_back(std::move(*row));
    dataset.records.push_back(std::move(record));
  }
}

}  // namespace

Dataset LoadDataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat) {
  if (options.files.empty()) {
    throw Error(ErrorKind::kInvalidInput, "no data files: set data.files to one or more JSONL files");
  }
  Dataset dataset;
  std::vector<ExampleRecord> records = ReadRecords(options, dataset.ledger);
  TokeniseAll(std::move(records), options, tokenizer, chat, dataset);
  if (dataset.rows.empty()) ThrowUnusableFile(Join(options.files, ", "), dataset.ledger, "no usable row");
  return dataset;
}

}  // namespace elrea
