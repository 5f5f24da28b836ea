// One line -> one record or one fault. Faults leave this file as values, since a data file may hold thousands
// of them; within a row they unwind as a private Fault.
#include "data/records.h"

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/answer.h"

namespace elrea {
namespace {

// A fault on its way from a helper to the Parse function that returns it.
struct Fault {
  RowFate fate;
  std::string why;
};

[[noreturn]] void Malformed(std::string why) { throw Fault{RowFate::kMalformed, std::move(why)}; }

std::string Quoted(const std::string& text) { return "'" + text + "'"; }

bool IsBlank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f\v") == text.npos; }

// row[key], or nullptr when absent or null.
const Json* Find(const Json& row, const char* key) {
  auto found = row.find(key);
  return found == row.end() || found->is_null() ? nullptr : &*found;
}

const std::string& AsString(const Json& value, const std::string& name) {
  if (!value.is_string()) Malformed(name + " is " + value.type_name() + ", expected a string");
  return value.get_ref<const std::string&>();
}

// The first of `keys` that the row has, as text; nothing when it has none.
std::optional<std::string> FirstString(const Json& row, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const Json* value = Find(row, key)) return AsString(*value, Quoted(key));
  }
  return std::nullopt;
}

// A gold answer may be written as a number.
std::optional<std::string> GoldAnswer(const Json& row) {
  const Json* value = Find(row, "answer");
  if (value == nullptr) return std::nullopt;
  return value->is_number() ? value->dump() : AsString(*value, "'answer'");
}

std::optional<std::string> Response(const Json& row) {
  if (auto response = FirstString(row, {"output", "response"})) return response;
  return GoldAnswer(row);
}

Json ParseObject(std::string_view line) {
  if (!IsValidUtf8(line)) Malformed("not valid UTF-8");
  Json row;
  try {
    row = ParseJson(line, "row");
  } catch (const Error& error) {
    Malformed(error.message());
  }
  if (!row.is_object()) Malformed(std::string("a JSON ") + row.type_name() + ", expected an object");
  return row;
}

std::vector<ChatMessage> ParseMessages(const Json& messages) {
  if (!messages.is_array()) {
    Malformed(std::string("'messages' is ") + messages.type_name() + ", expected an array");
  }
  std::vector<ChatMessage> parsed;
  for (const Json& message : messages) {
    const std::string name = "messages[" + std::to_string(parsed.size()) + "]";
    if (!message.is_object()) Malformed(name + " is " + message.type_name() + ", expected an object");
    const Json* role = Find(message, "role");
    const Json* content = Find(message, "content");
    if (role == nullptr || content == nullptr) Malformed(name + " lacks 'role' or 'content'");
    parsed.push_back({AsString(*role, name + ".role"), AsString(*content, name + ".content")});
    const std::string& who = parsed.back().role;
    if (who != "system" && who != "user" && who != "assistant") {
      Malformed(name + ".role is " + Quoted(who) + ", expected system, user or assistant");
    }
  }
  return parsed;
}

// {"instruction" | "prompt", "input" | "context"} as one user message.
std::vector<ChatMessage> SinglePrompt(const Json& row) {
  auto prompt = FirstString(row, {"instruction", "prompt"});
  if (!prompt) Malformed("no 'instruction', 'prompt' or 'messages'");
  std::string input = FirstString(row, {"input", "context"}).value_or("");
  if (IsBlank(input)) return {{"user", *prompt}};
  if (IsBlank(*prompt)) return {{"user", input}};
  return {{"user", *prompt + "\n\n" + input}};
}

void CheckPrompt(const std::vector<ChatMessage>& prompt) {
  for (const ChatMessage& message : prompt) {
    if (message.role == "user" && !IsBlank(message.content)) return;
  }
  throw Fault{RowFate::kEmptyInstruction, ""};
}

ExampleRecord ExampleOf(const Json& row) {
  ExampleRecord record;
  if (const Json* messages = Find(row, "messages")) {
    record.prompt = ParseMessages(*messages);
    while (!record.prompt.empty() && record.prompt.back().role != "assistant") record.prompt.pop_back();
    if (record.prompt.empty()) Malformed("'messages' has no assistant message to learn");
    record.response = record.prompt.back().content;
    record.prompt.pop_back();
  } else {
    record.prompt = SinglePrompt(row);
    auto response = Response(row);
    if (!response) Malformed("no 'output', 'response' or 'answer'");
    record.response = *response;
  }
  CheckPrompt(record.prompt);
  if (IsBlank(record.response)) throw Fault{RowFate::kEmptyResponse, ""};
  return record;
}

EvalRecord PromptOf(const Json& row) {
  EvalRecord record;
  std::optional<std::string> response;
  if (const Json* messages = Find(row, "messages")) {
    record.messages = ParseMessages(*messages);
    if (!record.messages.empty() && record.messages.back().role == "assistant") {
      response = record.messages.back().content;
      record.messages.pop_back();
    }
  } else {
    record.messages = SinglePrompt(row);
    response = FirstString(row, {"output", "response"});
  }
  CheckPrompt(record.messages);
  record.answer = GoldAnswer(row);
  if (!record.answer && response) record.answer = ExtractAnswer(*response);
  if (record.answer && IsBlank(*record.answer)) record.answer.reset();
  return record;
}

template <typename Record>
std::variant<Record, RowFault> ParseRow(std::string_view line, const std::string& file, int64_t number,
                                        Record (*parse)(const Json&)) {
  std::string source = fs::path(file).stem().string();
  try {
    Json row = ParseObject(line);
    auto named = FirstString(row, {"source"});
    if (named && !IsBlank(*named)) source = *named;
    Record record = parse(row);
    record.source = source;
    record.file = file;
    record.line = number;
    return record;
  } catch (Fault& fault) {
    return RowFault{fault.fate, std::move(fault.why), std::move(source)};
  }
}

}  // namespace

std::variant<ExampleRecord, RowFault> ParseExampleRow(std::string_view line, const std::string& file,
                                                      int64_t number) {
  return ParseRow<ExampleRecord>(line, file, number, ExampleOf);
}

std::variant<EvalRecord, RowFault> ParseEvalRow(std::string_view line, const std::string& file,
                                                int64_t number) {
  return ParseRow<EvalRecord>(line, file, number, PromptOf);
}

int64_t ForEachRow(const fs::path& path, const std::function<void(int64_t, std::string_view)>& row) {
  int64_t num_rows = 0;
  ForEachLine(path, [&](int64_t number, std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (number == 1 && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (IsBlank(text)) return;
    ++num_rows;
    row(number, text);
  });
  return num_rows;
}

void ThrowUnusableFile(const fs::path& path, const DataLedger& ledger, const std::string& complaint) {
  std::string message = path.string() + ": " + complaint + " (" + ledger.Summary() + ")";
  std::string first = ledger.FirstCulprits(RowFate::kMalformed, 3);
  if (!first.empty()) message += "; first malformed: " + first;
  message += R"(. Expected one JSON object a line: {"instruction", "output"} or {"messages"})";
  throw Error(ErrorKind::kInvalidInput, message);
}

EvalFile ReadEvalRecords(const fs::path& path, const EvalReadOptions& options) {
  EvalFile result;
  const std::string file = path.string();
  int64_t num_rows = ForEachRow(path, [&](int64_t number, std::string_view text) {
    if (options.limit > 0 && static_cast<int64_t>(result.records.size()) >= options.limit) return;
    auto parsed = ParseEvalRow(text, file, number);
    if (auto* fault = std::get_if<RowFault>(&parsed)) {
      result.ledger.Count(fault->source, fault->fate, file, number, fault->why);
      return;
    }
    EvalRecord& record = std::get<EvalRecord>(parsed);
    if (options.need_answer && !record.answer) {
      result.ledger.Count(record.source, RowFate::kMalformed, file, number, "no 'answer' to compare with");
      return;
    }
    result.ledger.Count(record.source, RowFate::kKept, file, number);
    result.records.push_back(std::move(record));
  });
  if (num_rows == 0)
    throw Error(ErrorKind::kInvalidInput, file + " is empty: expected one JSON object a line");
  if (result.records.empty()) ThrowUnusableFile(path, result.ledger, "no usable row");
  return result;
}

}  // namespace elrea
