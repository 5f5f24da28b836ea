// One line -> one record or one fault. Faults leave this file as values, since a data file may hold thousands
// of them; within a row they unwind as a private Fault.
#include "data/records.h"

#include "core/error.h"
#include "core/json.h"
#include "core/line_position.h"
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

// A message's content: a string, or OpenAI's list of parts, of which only text can be learnt.
std::string ContentOf(const Json& content, const std::string& name) {
  if (!content.is_array()) return AsString(content, name);
  std::string text;
  for (const Json& part : content) {
    const Json* type = part.is_object() ? Find(part, "type") : nullptr;
    const Json* words = part.is_object() ? Find(part, "text") : nullptr;
    if (type == nullptr || *type != "text" || words == nullptr) {
      Malformed(name + " has a part that is not {\"type\": \"text\", \"text\"}");
    }
    text += AsString(*words, name + ".text");
  }
  return text;
}

// The keys of one message, and the names of its roles.
struct MessageShape {
  const char* list;
  const char* role;
  const char* content;
};
constexpr MessageShape kOpenAi = {"messages", "role", "content"},
                       kShareGpt = {"conversations", "from", "value"};

std::string RoleOf(const std::string& role, const std::string& name) {
  if (role == "system" || role == "user" || role == "assistant") return role;
  if (role == "human" || role == "prompter") return "user";
  if (role == "gpt" || role == "chatgpt" || role == "bot" || role == "model") return "assistant";
  Malformed(name + " is " + Quoted(role) + ", expected system, user or assistant");
}

std::vector<ChatMessage> ParseMessages(const Json& messages, const MessageShape& shape) {
  if (!messages.is_array()) {
    Malformed(Quoted(shape.list) + " is " + messages.type_name() + ", expected an array");
  }
  std::vector<ChatMessage> parsed;
  for (const Json& message : messages) {
    const std::string name = std::string(shape.list) + "[" + std::to_string(parsed.size()) + "]";
    if (!message.is_object()) Malformed(name + " is " + message.type_name() + ", expected an object");
    const Json* role = Find(message, shape.role);
    const Json* content = Find(message, shape.content);
    if (role == nullptr || content == nullptr) {
      Malformed(name + " lacks " + Quoted(shape.role) + " or " + Quoted(shape.content));
    }
    const std::string role_name = name + "." + shape.role;
    parsed.push_back(
        {RoleOf(AsString(*role, role_name), role_name), ContentOf(*content, name + "." + shape.content)});
  }
  return parsed;
}

// The reply that people ranked best (0 is best; unranked ones last), of replies that were not deleted.
const Json* BestReply(const Json& message) {
  const Json* replies = Find(message, "replies");
  if (replies == nullptr || !replies->is_array()) return nullptr;
  const Json* best = nullptr;
  int64_t best_rank = 0;
  for (const Json& reply : *replies) {
    if (!reply.is_object() || (Find(reply, "deleted") != nullptr && reply["deleted"] == true)) continue;
    const Json* given = Find(reply, "rank");
    const int64_t rank = given != nullptr && given->is_number_integer() ? given->get<int64_t>() : INT64_MAX;
    if (best == nullptr || rank < best_rank) best = &reply, best_rank = rank;
  }
  return best;
}

// OASST's tree of messages: the way down along the best replies.
std::vector<ChatMessage> ParseTree(const Json& root) {
  std::vector<ChatMessage> messages;
  for (const Json* message = &root; message != nullptr; message = BestReply(*message)) {
    const std::string name = messages.empty() ? "prompt" : "reply " + std::to_string(messages.size());
    const Json *role = Find(*message, "role"), *text = Find(*message, "text");
    if (role == nullptr || text == nullptr) Malformed(name + " lacks 'role' or 'text'");
    messages.push_back(
        {RoleOf(AsString(*role, name + ".role"), name + ".role"), AsString(*text, name + ".text")});
  }
  return messages;
}

// The row's conversation, in whichever of the shapes; nothing for a row of one instruction.
std::optional<std::vector<ChatMessage>> Conversation(const Json& row) {
  for (const MessageShape& shape : {kOpenAi, kShareGpt}) {
    if (const Json* messages = Find(row, shape.list)) return ParseMessages(*messages, shape);
  }
  const Json* prompt = Find(row, "prompt");
  if (prompt != nullptr && prompt->is_object()) return ParseTree(*prompt);
  return std::nullopt;
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

std::vector<std::string> Strings(const Json& values, const std::string& name) {
  if (!values.is_array()) Malformed(name + " is " + values.type_name() + ", expected a list of strings");
  std::vector<std::string> strings;
  for (const Json& value : values) {
    strings.push_back(AsString(value, name + "[" + std::to_string(strings.size()) + "]"));
    if (IsBlank(strings.back())) Malformed(name + "[" + std::to_string(strings.size() - 1) + "] is empty");
  }
  return strings;
}

void AddFewShot(const Json& row, EvalRecord& record) {
  const Json* few_shot = Find(row, "few_shot");
  if (few_shot == nullptr) return;
  if (!few_shot->is_object())
    Malformed(std::string("'few_shot' is ") + few_shot->type_name() + ", expected an object");
  if (const Json* text = Find(*few_shot, "description"))
    record.description = AsString(*text, "few_shot.description");
  if (const Json* examples = Find(*few_shot, "examples"))
    record.examples = Strings(*examples, "few_shot.examples");
}

// A row whose answer is none of its choices, or two of them, would be scored wrongly by any method.
void AddChoices(const Json& row, EvalRecord& record) {
  const Json* choices = Find(row, "choices");
  if (choices == nullptr) return;
  record.choices = Strings(*choices, "'choices'");
  if (record.choices.size() < 2) Malformed("'choices' has fewer than two items");
  if (const Json* lead = Find(row, "choice_lead")) record.choice_lead = AsString(*lead, "'choice_lead'");
  if (!record.answer) return;
  for (AnswerMatching matching : {AnswerMatching::kStrict, AnswerMatching::kFlexible}) {
    std::vector<size_t> equal;
    for (size_t c = 0; c < record.choices.size(); ++c) {
      if (AnswersMatch(record.choices[c], *record.answer, matching)) equal.push_back(c);
    }
    if (equal.size() > 1) Malformed("the answer " + Quoted(*record.answer) + " equals several of 'choices'");
    if (equal.empty()) continue;
    record.gold_choice = static_cast<int64_t>(equal[0]);
    return;
  }
  Malformed("the answer " + Quoted(*record.answer) + " is none of 'choices'");
}

ExampleRecord ExampleOf(const Json& row) {
  ExampleRecord record;
  if (auto messages = Conversation(row)) {
    record.prompt = *std::move(messages);
    while (!record.prompt.empty() && record.prompt.back().role != "assistant") record.prompt.pop_back();
    if (record.prompt.empty()) Malformed("the conversation has no assistant message to learn");
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
  if (auto messages = Conversation(row)) {
    record.messages = *std::move(messages);
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
  record.task = FirstString(row, {"task"}).value_or("");
  AddFewShot(row, record);
  AddChoices(row, record);
  return record;
}

template <typename Record>
std::variant<Record, RowFault> ParseRow(std::string_view line, const std::string& file, int64_t number,
                                        Record (*parse)(const Json&)) {
  std::string source = DataFileStem(file);
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

const std::vector<std::string>& RowKeys() {
  static const std::vector<std::string> keys = {"instruction", "prompt",        "input",    "context", "output",
                                                "response",    "answer",        "messages", "source",  "conversations",
                                                "few_shot",    "choices",       "choice_lead", "task"};
  return keys;
}

std::variant<ExampleRecord, RowFault> ParseExampleRow(std::string_view line, const std::string& file,
                                                      int64_t number) {
  return ParseRow<ExampleRecord>(line, file, number, ExampleOf);
}

std::variant<EvalRecord, RowFault> ParseEvalRow(std::string_view line, const std::string& file,
                                                int64_t number) {
  return ParseRow<EvalRecord>(line, file, number, PromptOf);
}

std::string RowLine(const ExampleRecord& record) {
  Json messages = Json::array();
  for (const ChatMessage& m : record.prompt) messages.push_back({{"role", m.role}, {"content", m.content}});
  messages.push_back({{"role", "assistant"}, {"content", record.response}});
  return JsonLine({{"source", record.source},
                   {"messages", messages},
                   {"origin", record.file + ":" + std::to_string(record.line)}});
}

int64_t ForEachRow(const fs::path& path, const std::function<void(int64_t, std::string_view)>& row,
                   const std::function<void(int64_t)>& position) {
  int64_t num_rows = 0;
  ForEachLineWithPosition(path, [&](int64_t number, std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (number == 1 && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (IsBlank(text)) return;
    ++num_rows;
    row(number, text);
  }, position ? position : [](int64_t) {});
  return num_rows;
}

void ThrowUnusableFile(const fs::path& path, const DataLedger& ledger, const std::string& complaint) {
  std::string message = path.string() + ": " + complaint + " (" + ledger.Summary() + ")";
  std::string first = ledger.FirstCulprits(RowFate::kMalformed, 3);
  if (!first.empty()) message += "; first malformed: " + first;
  message +=
      R"(. Expected rows of {"instruction", "output"}, {"messages"} or {"conversations"}; other names of columns are told with data.columns)";
  throw Error(ErrorKind::kInvalidInput, message);
}

EvalFile ReadEvalRecords(const fs::path& path, const EvalReadOptions& options) {
  EvalFile result;
  const std::string file = path.string();
  const auto malformed = [&](int64_t number, const std::string& why) {
    result.ledger.Count(DataFileStem(path), RowFate::kMalformed, file, number, why);
  };
  const auto row = [&](int64_t number, std::string_view text) {
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
  };
  const int64_t num_rows = ForEachDataRow(path, options.columns, {row, malformed});
  if (num_rows == 0)
    throw Error(ErrorKind::kInvalidInput, file + " is empty: expected one JSON object a line");
  if (result.records.empty()) ThrowUnusableFile(path, result.ledger, "no usable row");
  return result;
}

}  // namespace elrea
