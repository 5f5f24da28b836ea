#include "eval/eval_rows.h"

#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "data/records.h"

namespace elrea {
namespace {

// Line number -> response, for the rows that have one.
std::unordered_map<int64_t, std::string> ReadResponses(const std::string& file) {
  std::unordered_map<int64_t, std::string> responses;
  const auto keep = [&](int64_t number, std::string_view text) {
    auto parsed = ParseExampleRow(text, file, number);
    if (auto* record = std::get_if<ExampleRecord>(&parsed)) responses[number] = std::move(record->response);
  };
  ForEachDataRow(file, {}, {keep, [](int64_t, const std::string&) {}});  // faults are counted by others
  return responses;
}

// Every n-th row, so that a short evaluation still sees all sources of a file sorted by source.
template <typename T>
void KeepEvenly(std::vector<T>& items, int64_t limit) {
  const auto n = static_cast<int64_t>(items.size());
  if (limit <= 0 || limit >= n) return;
  std::vector<T> kept;
  for (int64_t i = 0; i < limit; ++i) kept.push_back(std::move(items[static_cast<size_t>(i * n / limit)]));
  items = std::move(kept);
}

}  // namespace

std::vector<EvalRow> LoadEvalRows(const std::vector<std::string>& files, int64_t limit,
                                  const ChatTemplate& chat) {
  if (files.empty()) {
    throw Error(ErrorKind::kInvalidInput, "no evaluation files: give --input, or set data.test_files");
  }
  std::vector<EvalRow> rows;
  for (const std::string& file : files) {
    EvalFile read = ReadEvalRecords(file, {.need_answer = true});
    if (read.ledger.HasLosses()) {
      LogWarning("eval", "{}: {}; {}", file, read.ledger.Summary(),
                 read.ledger.FirstCulprits(RowFate::kMalformed, 3));
    }
    const auto responses = ReadResponses(file);
    for (EvalRecord& record : read.records) {
      const auto response = responses.find(record.line);
      const std::string& reference = response != responses.end() ? response->second : *record.answer;
      rows.push_back({chat.EncodePrompt(record.messages), chat.EncodeResponse(reference), *record.answer,
                      record.source, record.messages.back().content});
    }
  }
  KeepEvenly(rows, limit);
  return rows;
}

}  // namespace elrea
