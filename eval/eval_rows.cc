#include "eval/eval_rows.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "data/few_shot.h"
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

// Entries "SOURCE=N".
using SourceLimits = std::vector<std::pair<std::string, int64_t>>;
SourceLimits LimitsOf(const std::vector<std::string>& entries, const std::string& option) {
  SourceLimits limits;
  for (const std::string& entry : entries) {
    const size_t equals = entry.rfind('=');
    const std::string digits = equals == entry.npos ? "" : Trim(entry.substr(equals + 1));
    const std::string source = Trim(entry.substr(0, equals));
    const bool is_number = !digits.empty() && digits.size() <= 9 &&
                           digits.find_first_not_of("0123456789") == digits.npos && std::stoll(digits) > 0;
    if (source.empty() || !is_number) {
      throw Error(ErrorKind::kInvalidInput,
                  option + ": '" + entry + "' is not SOURCE=N with a whole number N above 0");
    }
    limits.emplace_back(source, std::stoll(digits));
  }
  return limits;
}

// Of the last entry that names the source, or a whole leading part of its name.
int64_t LimitOf(const SourceLimits& limits, const std::string& source, int64_t otherwise) {
  for (const auto& [name, limit] : limits) {
    if (source == name || source.starts_with(name + "/")) otherwise = limit;
  }
  return otherwise;
}

// The end of the turn is no part of a choice.
std::vector<int32_t> OpenResponse(const ChatTemplate& chat, const std::string& text) {
  std::vector<int32_t> tokens = chat.EncodeResponse(text);
  tokens.pop_back();
  return tokens;
}

EvalChoices EncodeChoices(const EvalRecord& record, const ChatTemplate& chat) {
  EvalChoices choices;
  if (record.choices.empty()) return choices;
  for (const std::string& choice : record.choices) {
    choices.rest.push_back(OpenResponse(chat, record.choice_lead + choice));
    choices.num_characters.push_back(
        std::count_if(choice.begin(), choice.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }
  const std::vector<int32_t>& first = choices.rest[0];
  size_t shared = first.size() - 1;
  for (const auto& tokens : choices.rest) {
    shared = std::min(shared, tokens.size() - 1);
    const auto end = first.begin() + static_cast<int64_t>(shared);
    shared = static_cast<size_t>(std::mismatch(first.begin(), end, tokens.begin()).first - first.begin());
  }
  choices.shared.assign(first.begin(), first.begin() + static_cast<int64_t>(shared));
  for (auto& tokens : choices.rest) tokens.erase(tokens.begin(), tokens.begin() + static_cast<int64_t>(shared));
  choices.gold = record.gold_choice;
  return choices;
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

std::vector<EvalRow> LoadEvalRows(const std::vector<std::string>& files, const EvalOptions& options,
                                  const ChatTemplate& chat) {
  const auto instruction_limits = LimitsOf(options.max_instruction_tokens_of, "eval.max_instruction_tokens_of");
  const auto response_limits = LimitsOf(options.max_new_tokens_of, "eval.max_new_tokens_of");
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
      FittedPrompt prompt = FitExamples(
          record, chat, LimitOf(instruction_limits, record.source, options.max_instruction_tokens));
      EvalRow& row = rows.emplace_back(EvalRow{std::move(prompt.tokens), chat.EncodeResponse(reference),
                                               *record.answer, record.source, record.messages.back().content});
      row.examples_given = static_cast<int64_t>(record.examples.size());
      row.examples_shown = prompt.num_examples;
      row.max_new_tokens = LimitOf(response_limits, record.source, 0);
      row.choices = EncodeChoices(record, chat);
      row.task = record.task;
    }
  }
  KeepEvenly(rows, options.limit);
  if (const auto uses = CountExamples(rows); !uses.empty())
    LogInfo("eval", "worked examples:\n{}", ExampleUseText(uses));
  return rows;
}

std::map<std::string, ExampleUse> CountExamples(std::span<const EvalRow> rows) {
  std::map<std::string, ExampleUse> uses;
  for (const EvalRow& row : rows) {
    if (row.examples_given == 0) continue;
    ExampleUse& use = uses[row.source];
    ++use.rows;
    use.rows_cut += row.examples_shown < row.examples_given;
    use.given += row.examples_given;
    use.shown += row.examples_shown;
  }
  return uses;
}

Json ExampleUseJson(const std::map<std::string, ExampleUse>& uses) {
  Json json = Json::object();
  for (const auto& [source, use] : uses) {
    json[source] = {
        {"rows", use.rows}, {"rows_cut", use.rows_cut}, {"given", use.given}, {"shown", use.shown}};
  }
  return json;
}

std::string ExampleUseText(const std::map<std::string, ExampleUse>& uses) {
  if (uses.empty()) return "";
  std::vector<std::vector<std::string>> table = {
      {"source", "rows with examples", "of these cut", "examples given", "shown"}};
  for (const auto& [source, use] : uses) {
    table.push_back({source, FormatCount(use.rows), FormatCount(use.rows_cut), FormatCount(use.given),
                     FormatCount(use.shown)});
  }
  return FormatTable(table);
}

}  // namespace elrea
