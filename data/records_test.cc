// Every shape a line may have, every way in which it may be bad.
#include "data/records.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

ExampleRecord Example(const std::string& line) {
  auto parsed = ParseExampleRow(line, "dir/rows.jsonl", 4);
  if (auto* fault = std::get_if<RowFault>(&parsed)) {
    ADD_FAILURE() << line << ": " << RowFateName(fault->fate) << " " << fault->why;
    return {};
  }
  return std::get<ExampleRecord>(parsed);
}

RowFault Fault(const std::string& line) {
  auto parsed = ParseExampleRow(line, "dir/rows.jsonl", 4);
  if (auto* fault = std::get_if<RowFault>(&parsed)) return *fault;
  ADD_FAILURE() << line << " was accepted";
  return {RowFate::kKept, "", ""};
}

TEST(ParseExampleRow, InstructionShapes) {
  ExampleRecord record =
      Example(R"({"instruction": "Sort:", "input": "b a", "output": "a b", "source": "sorts"})");
  ASSERT_EQ(record.prompt.size(), 1u);
  EXPECT_EQ(record.prompt[0].role, "user");
  EXPECT_EQ(record.prompt[0].content, "Sort:\n\nb a");
  EXPECT_EQ(record.response, "a b");
  EXPECT_EQ(record.source, "sorts");
  EXPECT_EQ(record.file, "dir/rows.jsonl");
  EXPECT_EQ(record.line, 4);
  EXPECT_EQ(Example(R"({"instruction": "Hi", "input": "", "output": "x"})").prompt[0].content, "Hi");
  EXPECT_EQ(Example(R"({"instruction": "", "input": "only", "output": "x"})").prompt[0].content, "only");
  EXPECT_EQ(Example(R"({"instruction": "Q", "context": "C", "response": "x"})").prompt[0].content, "Q\n\nC");
  EXPECT_EQ(Example(R"({"prompt": "Q", "response": "R"})").response, "R");
  EXPECT_EQ(Example(R"({"prompt": "Q", "answer": 42})").response, "42");
  EXPECT_EQ(Example(R"({"instruction": "Q", "output": "long", "answer": "short"})").response, "long");
  EXPECT_EQ(
      Example(R"({"prompt": "Q", "input": null, "output": null, "response": "R", "source": null})").source,
      "rows");
}

TEST(ParseExampleRow, MessagesEndAtTheLastAssistantMessage) {
  const ExampleRecord record = Example(R"({"messages": [{"role": "system", "content": "S"},
      {"role": "user", "content": "U1"}, {"role": "assistant", "content": "A1"}, {"role": "user", "content": "U2"},
      {"role": "assistant", "content": "A2"}, {"role": "user", "content": "thanks"}]})");
  ASSERT_EQ(record.prompt.size(), 4u);
  EXPECT_EQ(record.prompt[0].role, "system");
  EXPECT_EQ(record.prompt[3].content, "U2");
  EXPECT_EQ(record.response, "A2");
}

TEST(ParseExampleRow, FaultsSayWhatIsWrong) {
  const std::pair<std::string, const char*> malformed[] = {
      {"{\"instruction\": ", "not valid JSON"},
      {"[1, 2]", "array, expected an object"},
      {"42", "number, expected an object"},
      {R"({"output": "x"})", "no 'instruction', 'prompt' or 'messages'"},
      {R"({"instruction": "x"})", "no 'output', 'response' or 'answer'"},
      {R"({"instruction": 5, "output": "x"})", "'instruction' is number, expected a string"},
      {R"({"instruction": "x", "input": ["y"], "output": "x"})", "'input' is array"},
      {R"({"instruction": "x", "output": {}})", "'output' is object"},
      {R"({"instruction": "x", "output": "y", "source": 1})", "'source' is number"},
      {R"({"messages": "x"})", "'messages' is string, expected an array"},
      {R"({"messages": ["x"]})", "messages[0] is string"},
      {R"({"messages": [{"role": "user"}]})", "messages[0] lacks"},
      {R"({"messages": [{"role": "user", "content": ["x"]}]})", "messages[0].content has a part"},
      {R"({"messages": [{"role": "wizard", "content": "x"}]})",
       "'wizard', expected system, user or assistant"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "no assistant message"},
      {R"({"messages": []})", "no assistant message"},
      {R"({"conversations": {}})", "'conversations' is object, expected an array"},
      {R"({"conversations": [{"from": "human"}]})", "conversations[0] lacks 'from' or 'value'"},
      {R"({"prompt": {"text": "x"}})", "prompt lacks 'role' or 'text'"},
      {R"({"prompt": {"role": "prompter", "text": "x", "replies": 3}})", "no assistant message"},
      {"{\"instruction\": \"\xff\xfe\", \"output\": \"x\"}", "not valid UTF-8"},
      {R"({"instruction": "\ud800", "output": "x"})", "not valid JSON"},
      {std::string(500, '['), "nested deeper"},
  };
  for (const auto& [line, why] : malformed) {
    const RowFault fault = Fault(line);
    EXPECT_EQ(fault.fate, RowFate::kMalformed) << line;
    EXPECT_NE(fault.why.find(why), std::string::npos) << line << ": " << fault.why;
    EXPECT_EQ(fault.source, "rows") << line;
  }
  EXPECT_EQ(Fault(R"({"instruction": "x", "output": " \n"})").fate, RowFate::kEmptyResponse);
  EXPECT_EQ(Fault(R"({"instruction": " ", "output": "x"})").fate, RowFate::kEmptyInstruction);
  EXPECT_EQ(Fault(R"({"messages": [{"role": "assistant", "content": "x"}]})").fate,
            RowFate::kEmptyInstruction);
  EXPECT_EQ(Fault(R"({"instruction": "x", "source": "named"})").source, "named");
}

EvalRecord Prompt(const std::string& line) {
  auto parsed = ParseEvalRow(line, "p.jsonl", 1);
  if (auto* fault = std::get_if<RowFault>(&parsed)) {
    ADD_FAILURE() << line << ": " << fault->why;
    return {};
  }
  return std::get<EvalRecord>(parsed);
}

TEST(ParseEvalRow, PromptsWithAndWithoutAnswer) {
  EXPECT_EQ(Prompt(R"({"prompt": "Q"})").messages[0].content, "Q");
  EXPECT_FALSE(Prompt(R"({"prompt": "Q"})").answer);
  EXPECT_EQ(Prompt(R"({"prompt": "Q", "answer": "A"})").answer, "A");
  EXPECT_EQ(Prompt(R"({"prompt": "Q", "answer": 7})").answer, "7");
  EXPECT_EQ(Prompt(R"({"instruction": "Q", "input": "I", "output": "so \\boxed{7}."})").answer, "7");
  EXPECT_EQ(Prompt(R"({"instruction": "Q", "output": "so \\boxed{7}.", "answer": "8"})").answer, "8");
  EXPECT_EQ(Prompt(R"({"instruction": "Q", "input": "I"})").messages[0].content, "Q\n\nI");
}

TEST(ParseEvalRow, MessagesAreAnsweredAtTheirEnd) {
  const std::string user = R"({"role": "user", "content": "U"})",
                    assistant = R"({"role": "assistant", "content": "9"})";
  const EvalRecord open = Prompt(R"({"messages": [)" + user + "," + assistant + "," + user + "]}");
  EXPECT_EQ(open.messages.size(), 3u);
  EXPECT_FALSE(open.answer);
  const EvalRecord answered = Prompt(R"({"messages": [)" + user + "," + assistant + "]}");
  EXPECT_EQ(answered.messages.size(), 1u);
  EXPECT_EQ(answered.answer, "9");
}

TEST(ParseEvalRow, ChoicesAndExamples) {
  const auto record = [](const char* fields) {
    auto parsed = ParseEvalRow(std::string(R"j({"prompt": "Q", )j") + fields + "}", "p.jsonl", 1);
    const auto* fault = std::get_if<RowFault>(&parsed);
    EXPECT_EQ(fault, nullptr) << fields << ": " << (fault ? fault->why : "");
    return fault ? EvalRecord{} : std::get<EvalRecord>(parsed);
  };
  const EvalRecord letters =
      record(R"j("answer": "(B)", "choices": ["A", "B"], "choice_lead": "The answer is (", )j"
             R"j("few_shot": {"description": "D", "examples": ["E1", "E2"]})j");
  EXPECT_EQ(letters.gold_choice, 1);
  EXPECT_EQ(letters.choice_lead, "The answer is (");
  EXPECT_EQ(letters.description, "D");
  EXPECT_EQ(letters.examples, (std::vector<std::string>{"E1", "E2"}));
  // Bytes come first: flexibly, both choices are the answer.
  EXPECT_EQ(record(R"j("answer": "5.0", "choices": ["5", "5.0"])j").gold_choice, 1);
  EXPECT_EQ(record(R"j("answer": 5, "choices": ["4", "5.0"])j").gold_choice, 1);
  EXPECT_EQ(record(R"j("answer": "x", "choices": null)j").gold_choice, -1);
  EXPECT_EQ(record(R"j("choices": ["a", "b"])j").gold_choice, -1);  // a prompt to answer

  const auto why = [](const char* fields) {
    auto parsed = ParseEvalRow(std::string(R"j({"prompt": "Q", "answer": "C", )j") + fields + "}", "p.jsonl", 1);
    return std::holds_alternative<RowFault>(parsed) ? std::get<RowFault>(parsed).why : "accepted";
  };
  EXPECT_EQ(why(R"j("choices": ["A", "B"])j"), "the answer 'C' is none of 'choices'");
  EXPECT_EQ(why(R"j("choices": ["(C)", "c)"])j"), "the answer 'C' equals several of 'choices'");
  EXPECT_EQ(why(R"j("choices": ["C"])j"), "'choices' has fewer than two items");
  EXPECT_EQ(why(R"j("choices": ["C", 1])j"), "'choices'[1] is number, expected a string");
  EXPECT_EQ(why(R"j("choices": {"text": []})j"), "'choices' is object, expected a list of strings");
  EXPECT_EQ(why(R"j("few_shot": 3)j"), "'few_shot' is number, expected an object");
  EXPECT_EQ(why(R"j("few_shot": {"examples": [" "]})j"), "few_shot.examples[0] is empty");
}

TEST(ReadEvalRecords, KeepsOrderLinesAndLedger) {
  TempDir dir;
  const fs::path path = dir / "tests.jsonl";
  WriteFileAtomically(
      path,
      "\xEF\xBB\xBF{\"prompt\": \"a\", \"answer\": \"1\"}\r\n\n  \n{\"prompt\": \"b\"}\nnot json\n"
      "{\"prompt\": \"c\", \"answer\": \"3\"}");
  EvalFile all = ReadEvalRecords(path);
  ASSERT_EQ(all.records.size(), 3u);
  EXPECT_EQ(all.records[1].line, 4);
  EXPECT_EQ(all.records[2].line, 6);
  EXPECT_EQ(all.records[0].source, "tests");
  EXPECT_EQ(all.ledger.Total(RowFate::kMalformed), 1);

  const EvalFile scored = ReadEvalRecords(path, {.need_answer = true});
  EXPECT_EQ(scored.records.size(), 2u);
  EXPECT_EQ(scored.ledger.Total(RowFate::kMalformed), 2);
  const EvalFile limited = ReadEvalRecords(path, {.need_answer = false, .limit = 1});
  EXPECT_EQ(limited.records.size(), 1u);
  EXPECT_EQ(limited.ledger.TotalRows(), 1);
}

std::string ReadError(const fs::path& path, ErrorKind kind) {
  try {
    ReadEvalRecords(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << path << " was accepted";
  return "";
}

TEST(ReadEvalRecords, UnusableFilesAreErrorsThatNameThem) {
  TempDir dir;
  EXPECT_NE(ReadError(dir / "absent.jsonl", ErrorKind::kNotFound).find("absent.jsonl"), std::string::npos);
  WriteFileAtomically(dir / "empty.jsonl", " \n\n");
  EXPECT_NE(ReadError(dir / "empty.jsonl", ErrorKind::kInvalidInput).find("empty.jsonl is empty"),
            std::string::npos);
  WriteFileAtomically(dir / "bad.jsonl", "{\"prompt\": 1}\n{\"prompt\": \"\"}\n");
  const std::string bad = ReadError(dir / "bad.jsonl", ErrorKind::kInvalidInput);
  for (const char* part :
       {"bad.jsonl", "2 rows: 0 kept, 1 empty_instruction, 1 malformed", "bad.jsonl:1", "'prompt'"}) {
    EXPECT_NE(bad.find(part), std::string::npos) << part << ": " << bad;
  }
}

TEST(ParseExampleRow, OtherShapesOfConversations) {
  const ExampleRecord shared = Example(
      R"({"id": "1", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"},)"
      R"( {"from": "gpt", "value": "a"}, {"from": "human", "value": "unused"}]})");
  ASSERT_EQ(shared.prompt.size(), 2u);
  EXPECT_EQ(shared.prompt[1].role, "user");
  EXPECT_EQ(shared.prompt[1].content, "q");
  EXPECT_EQ(shared.response, "a");
  const ExampleRecord parts = Example(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},)"
      R"( {"role": "assistant", "content": "c"}]})");
  EXPECT_EQ(parts.prompt[0].content, "ab");
}

TEST(ParseExampleRow, TreesGoAlongTheirBestReplies) {
  const ExampleRecord tree =
      Example(R"({"message_tree_id": "t", "prompt": {"role": "prompter", "text": "q", "replies": [)"
              R"({"role": "assistant", "text": "gone", "rank": 0, "deleted": true, "replies": []},)"
              R"({"role": "assistant", "text": "worse", "rank": 2, "replies": []},)"
              R"({"role": "assistant", "text": "better", "rank": 1, "replies": [)"
              R"({"role": "prompter", "text": "and?", "rank": null, "replies": [)"
              R"({"role": "assistant", "text": "so", "rank": null, "replies": []}]}]}]}})");
  ASSERT_EQ(tree.prompt.size(), 3u);
  EXPECT_EQ(tree.prompt[1].role, "assistant");
  EXPECT_EQ(tree.prompt[1].content, "better");
  EXPECT_EQ(tree.prompt[2].content, "and?");
  EXPECT_EQ(tree.response, "so");
}

}  // namespace
}  // namespace elrea
