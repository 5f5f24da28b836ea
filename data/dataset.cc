// One pass over the files: a row is read, checked, tokenised and handed on before the next one is looked at.
// What is kept of it goes to disk: its line, and its tokens under a key of everything that they depend on.
#include "data/dataset.h"

#include <fmt/format.h>

#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/streaming_checksum.h"
#include "core/text.h"
#include "data/token_contract.h"
#include "data/token_file.h"

namespace elrea {
namespace {

// Tells rows whose prompt and response were seen before, by checksums wide enough not to meet by chance.
class DuplicateFinder {
 public:
  // Where the first equal row is, "FILE:LINE"; empty when `record` is new, and then it is remembered.
  std::string FindOrAdd(const ExampleRecord& record, size_t file, const std::vector<std::string>& files) {
    std::string key = record.response;
    for (const ChatMessage& message : record.prompt) key += '\0' + message.role + '\0' + message.content;
    const auto [first, is_new] = seen_.try_emplace(WideChecksum::Of(key), Place{file, record.line});
    return is_new ? "" : fmt::format("{}:{}", files[first->second.file()], first->second.line());
  }

 private:
  struct Place {
    uint64_t file_and_line;  // line in the low 40 bits
    Place(size_t file, int64_t line) : file_and_line(file << 40 | static_cast<uint64_t>(line)) {}
    size_t file() const { return file_and_line >> 40; }
    uint64_t line() const { return file_and_line & ((uint64_t{1} << 40) - 1); }
  };
  struct Low {
    size_t operator()(const WideChecksum& sum) const noexcept { return sum.low; }
  };
  std::unordered_map<WideChecksum, Place, Low> seen_;
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

void CheckVocabulary(std::span<const int32_t> tokens, const Tokenizer& tokenizer) {
  for (int32_t token : tokens) {
    if (token < 0 || token >= tokenizer.vocab_size()) {
      throw Error(ErrorKind::kInternal, "token " + std::to_string(token) + " is outside the vocabulary of " +
                                            std::to_string(tokenizer.vocab_size()) +
                                            ": the chat template was made for another tokenizer");
    }
  }
}

// Reads one file after the other into one ledger and one sink.
class FileTokeniser {
 public:
  FileTokeniser(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat,
                const TokenisedRowSink& sink)
      : options_(options),
        tokenizer_(tokenizer),
        chat_(chat),
        sink_(sink),
        columns_(ParseColumns(options.columns)) {}

  // `position`: as of RowSinks.
  void Read(size_t file, const std::function<void(int64_t)>& position) {
    const std::string& path = options_.files[file];
    int64_t num_malformed = 0;
    const auto malformed = [&](int64_t number, const std::string& why) {
      ledger_.Count(DataFileStem(path), RowFate::kMalformed, path, number, why);
      ++num_malformed;
    };
    const auto row = [&](int64_t number, std::string_view text) {
      auto parsed = ParseExampleRow(text, path, number);
      if (auto* fault = std::get_if<RowFault>(&parsed)) {
        ledger_.Count(fault->source, fault->fate, path, number, fault->why);
        num_malformed += fault->fate == RowFate::kMalformed;
      } else {
        Take(std::get<ExampleRecord>(parsed), file);
      }
    };
    const int64_t num_rows = ForEachDataRow(path, columns_, {row, malformed, position});
    CheckMalformed(path, num_rows, num_malformed, options_.max_malformed_fraction, ledger_);
  }

  DataLedger& ledger() { return ledger_; }

 private:
  void Take(const ExampleRecord& record, size_t file) {
    if (options_.drop_duplicates) {
      const std::string first = duplicates_.FindOrAdd(record, file, options_.files);
      if (!first.empty()) return Count(record, RowFate::kDuplicate, "equal to " + first);
    }
    std::vector<int32_t> tokens;
    size_t num_prompt;
    try {
      tokens = chat_.EncodePrompt(record.prompt);
      num_prompt = tokens.size();
      const std::vector<int32_t> response = chat_.EncodeResponse(record.response);
      tokens.insert(tokens.end(), response.begin(), response.end());
    } catch (const Error& error) {  // the family cannot express it
      if (error.kind() != ErrorKind::kInvalidInput) throw;
      return Count(record, RowFate::kMalformed, error.message());
    }
    const auto num_tokens = static_cast<int64_t>(tokens.size());
    if (num_tokens > options_.max_tokens) {
      return Count(record, RowFate::kOverLong,
                   FormatCount(num_tokens) + " tokens, the limit is " + FormatCount(options_.max_tokens));
    }
    CheckVocabulary(tokens, tokenizer_);
    Count(record, RowFate::kKept, "");
    sink_(record, tokens, static_cast<int64_t>(num_prompt));
  }

  void Count(const ExampleRecord& record, RowFate fate, const std::string& why) {
    ledger_.Count(record.source, fate, record.file, record.line, why);
  }

  const DatasetOptions& options_;
  const Tokenizer& tokenizer_;
  const ChatTemplate& chat_;
  const TokenisedRowSink& sink_;
  const ColumnMap columns_;
  DuplicateFinder duplicates_;
  DataLedger ledger_;
};

// What the tokens of rows depend on.
Json TokensKey(const std::string& rows_checksum, int64_t max_tokens, const Tokenizer& tokenizer,
               const ChatTemplate& chat) {
  return {{"rows", rows_checksum},
          {"max_tokens", max_tokens},
          {"contract", TokenContract::Of(tokenizer, chat).ToJson()}};
}

Dataset DatasetOf(TokenFile file, const DatasetPlace& place) {
  return {std::move(file.rows), std::move(file.sources), std::make_shared<RowTexts>(place.rows())};
}

// Of rows that were checked when they were written.
void TokeniseAgain(const DatasetPlace& place, const Json& key, int64_t max_tokens, const Tokenizer& tokenizer,
                   const ChatTemplate& chat) {
  DatasetOptions options;
  options.files = {place.rows().string()};
  options.max_tokens = max_tokens;
  options.drop_duplicates = false;
  TokenFileWriter writer(place.tokens());
  const DataLedger ledger = TokeniseFiles(options, tokenizer, chat,
                                          [&](const ExampleRecord& record, auto tokens, int64_t num_prompt) {
                                            writer.Add(tokens, num_prompt, record.source);
                                          });
  if (ledger.HasLosses()) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: its rows were usable when it was written, but now: {}; make it again",
                            place.rows().string(), ledger.Summary()));
  }
  writer.Commit(key);
}

}  // namespace

DataLedger TokeniseFiles(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat,
                         const TokenisedRowSink& sink) {
  if (options.files.empty()) {
    throw Error(ErrorKind::kInvalidInput, "no data files: set data.files to one or more JSONL files");
  }
  constexpr int64_t kMegabyte = 1'000'000;
  int64_t total_bytes = 0, bytes_before = 0;
  for (const std::string& file : options.files) {
    std::error_code is_missing;  // said when it is read
    const uintmax_t size = fs::file_size(file, is_missing);
    if (!is_missing) total_bytes += static_cast<int64_t>(size);
  }
  Progress progress("tokenise", std::max<int64_t>(1, total_bytes / kMegabyte), "MB");
  FileTokeniser tokeniser(options, tokenizer, chat, sink);
  for (size_t file = 0; file < options.files.size(); ++file) {
    int64_t bytes_read = 0;
    tokeniser.Read(file, [&](int64_t bytes) {
      bytes_read = bytes;
      progress.Set((bytes_before + bytes) / kMegabyte);
    });
    bytes_before += bytes_read;
  }
  if (tokeniser.ledger().Total(RowFate::kKept) == 0)
    ThrowUnusableFile(Join(options.files, ", "), tokeniser.ledger(), "no usable row");
  return std::move(tokeniser.ledger());
}

Dataset LoadDataset(const DatasetOptions& options, const Tokenizer& tokenizer, const ChatTemplate& chat) {
  Dataset dataset;
  std::unordered_map<std::string, int32_t> ids;
  TokeniseFiles(options, tokenizer, chat, [&](const ExampleRecord& record, auto tokens, int64_t num_prompt) {
    const auto [id, is_new] = ids.try_emplace(record.source, static_cast<int32_t>(dataset.sources.size()));
    if (is_new) dataset.sources.push_back(record.source);
    dataset.rows.push_back({std::vector<int32_t>(tokens.begin(), tokens.end()), num_prompt, id->second});
  });
  return dataset;
}

WrittenDataset WriteDataset(const DatasetOptions& options, const Tokenizer& tokenizer,
                            const ChatTemplate& chat, const DatasetPlace& place) {
  WrittenDataset written;
  AtomicFile rows(place.rows());
  TokenFileWriter tokens(place.tokens());
  StreamingChecksum sum;
  written.ledger =
      TokeniseFiles(options, tokenizer, chat,
                    [&](const ExampleRecord& record, std::span<const int32_t> ids, int64_t num_prompt) {
                      const std::string line = RowLine(record) + "\n";
                      rows.Write(line);
                      sum.Add(line);
                      tokens.Add(ids, num_prompt, record.source);
                    });
  written.checksum = sum.Hex();
  rows.Commit();
  tokens.Commit(TokensKey(written.checksum, options.max_tokens, tokenizer, chat));
  return written;
}

Dataset OpenDataset(const DatasetPlace& place, const std::string& checksum, int64_t max_tokens,
                    const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const Json key = TokensKey(checksum, max_tokens, tokenizer, chat);
  if (auto file = OpenTokenFile(place.tokens(), key)) {
    LogInfo("data", "{} rows with their tokens from {}, not tokenised again",
            FormatCount(static_cast<int64_t>(file->rows.size())), place.tokens().string());
    return DatasetOf(*std::move(file), place);
  }
  TokeniseAgain(place, key, max_tokens, tokenizer, chat);
  if (auto file = OpenTokenFile(place.tokens(), key)) return DatasetOf(*std::move(file), place);
  throw Error(ErrorKind::kIo, place.tokens().string() + " cannot be read back; is the disk sound?");
}

}  // namespace elrea
