#include "eval/eval_rows.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "data/tokenizer.h"

namespace elrea {
namespace {

class EvalRowsTest : public testing::Test {
 protected:
  std::vector<EvalRow> Load(const std::string& lines, int64_t limit = 0) {
    WriteFileAtomically(dir_ / "rows.jsonl", lines);
    return LoadEvalRows({(dir_ / "rows.jsonl").string()}, {.limit = limit}, chat_);
  }

  TempDir dir_;
  std::unique_ptr<Tokenizer> tokenizer_ =
      Tokenizer::Load(fs::path(ELREA_SOURCE_DIR) / "tests/golden/pipeline_model");
  ChatTemplate chat_ = ChatTemplate::For(*tokenizer_, "auto");
};

TEST_F(EvalRowsTest, TakesTheReferenceResponseOrElseTheAnswer) {
  const std::vector<EvalRow> rows = Load(
      "{\"prompt\": \"1+1?\", \"output\": \"It is \\\\boxed{2}\", \"source\": \"sums\", \"task\": \"sums/short\"}\n"
      "{\"prompt\": \"2+2?\", \"answer\": 4}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"3+3?\"}], \"answer\": \"6\"}\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].gold, "2");
  EXPECT_EQ(rows[0].source, "sums");
  EXPECT_EQ(rows[0].task, "sums/short");
  EXPECT_EQ(rows[1].task, "");
  EXPECT_EQ(rows[0].response, chat_.EncodeResponse("It is \\boxed{2}"));
  EXPECT_EQ(rows[1].response, chat_.EncodeResponse("4"));
  EXPECT_EQ(rows[2].response, chat_.EncodeResponse("6"));
  EXPECT_EQ(rows[2].prompt, chat_.EncodePrompt({{"user", "3+3?"}}));
}

TEST_F(EvalRowsTest, ALimitSpreadsOverTheFile) {
  std::string lines;
  for (int i = 0; i < 10; ++i) lines += "{\"prompt\": \"p\", \"answer\": \"" + std::to_string(i) + "\"}\n";
  const std::vector<EvalRow> rows = Load(lines, 3);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].gold, "0");
  EXPECT_EQ(rows[1].gold, "3");
  EXPECT_EQ(rows[2].gold, "6");
}

TEST_F(EvalRowsTest, ExamplesAreDroppedFromTheEndUntilThePromptFits) {
  const std::string line =
      R"({"prompt": "Q: 3", "answer": "3", "source": "bbh/x", "few_shot": {"description": "Count.", )"
      R"("examples": ["Q: 1\nA: 1", "Q: 2\nA: 2"]}})";
  const std::string text[] = {"Count.\n\nQ: 3", "Count.\n\nQ: 1\nA: 1\n\nQ: 3",
                              "Count.\n\nQ: 1\nA: 1\n\nQ: 2\nA: 2\n\nQ: 3"};
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string& message : text) prompts.push_back(chat_.EncodePrompt({{"user", message}}));
  WriteFileAtomically(dir_ / "rows.jsonl", line);
  const auto row = [&](EvalOptions options) {
    return LoadEvalRows({(dir_ / "rows.jsonl").string()}, options, chat_)[0];
  };
  for (size_t shown = 0; shown < prompts.size(); ++shown) {
    const auto limit = static_cast<int64_t>(prompts[shown].size());
    const EvalRow fitted = row({.max_instruction_tokens = limit});
    EXPECT_EQ(fitted.prompt, prompts[shown]);
    EXPECT_EQ(fitted.examples_shown, static_cast<int64_t>(shown));
    EXPECT_EQ(fitted.examples_given, 2);
  }
  EXPECT_EQ(row({.max_instruction_tokens = 1}).prompt, prompts[0]);  // the question itself is never cut
  EXPECT_EQ(row({.max_instruction_tokens = 0}).prompt, prompts[2]);
  EXPECT_EQ(row({.max_instruction_tokens = 1, .max_instruction_tokens_of = {"bb=2", "bbh=9999"}}).prompt, prompts[2]);
  EXPECT_EQ(row({.max_instruction_tokens_of = {"bbh=9999", "bbh/x=1"}}).prompt, prompts[0]);
  EXPECT_EQ(row({.max_new_tokens_of = {"bbh/x=7"}}).max_new_tokens, 7);
  EXPECT_EQ(row({.max_new_tokens_of = {"mmlu=7"}}).max_new_tokens, 0);

  const std::vector<EvalRow> rows = {row({.max_instruction_tokens = 1}), row({}), Load("{\"prompt\": \"p\", \"answer\": \"a\"}")[0]};
  const auto uses = CountExamples(rows);
  ASSERT_EQ(uses.size(), 1u);
  EXPECT_EQ(ExampleUseJson(uses).dump(), R"({"bbh/x":{"rows":2,"rows_cut":1,"given":4,"shown":2}})");
}

TEST_F(EvalRowsTest, ChoicesAreTokenisedBehindTheirLeadAndShareWhatTheyCan) {
  const auto choices = [&](const std::string& fields) { return Load("{\"prompt\": \"p\", " + fields + "}")[0].choices; };
  const auto whole = [&](const EvalChoices& c, size_t i, const std::string& text) {
    std::vector<int32_t> tokens = c.shared;
    tokens.insert(tokens.end(), c.rest[i].begin(), c.rest[i].end());
    std::vector<int32_t> expected = chat_.EncodeResponse(text);
    expected.pop_back();  // the end of the turn
    EXPECT_EQ(tokens, expected) << text;
  };
  const EvalChoices letters =
      choices(R"j("answer": "(B)", "choices": ["A", "B", "C"], "choice_lead": "The answer is (")j");
  ASSERT_EQ(letters.rest.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(letters.rest[i].size(), 1u);
    whole(letters, i, std::string("The answer is (") + "ABC"[i]);
  }
  EXPECT_EQ(letters.gold, 1);
  // One begins as the other: what is shared leaves both a token of their own.
  const EvalChoices words = choices(R"j("answer": "cat", "choices": ["cat", "cat and dog \u00e9"])j");
  whole(words, 0, "cat");
  whole(words, 1, "cat and dog \u00e9");
  EXPECT_FALSE(words.rest[0].empty());
  EXPECT_NE(words.rest[0], words.rest[1]);
  EXPECT_EQ(words.num_characters, (std::vector<int64_t>{3, 13}));
  EXPECT_TRUE(choices(R"j("answer": "cat")j").empty());
}

TEST_F(EvalRowsTest, AFaultyLimitIsNamed) {
  WriteFileAtomically(dir_ / "rows.jsonl", "{\"prompt\": \"p\", \"answer\": \"a\"}");
  for (const char* entry : {"mmlu", "mmlu=", "=5", "mmlu=0", "mmlu=-1", "mmlu=1.5", "mmlu=99999999999999999999"}) {
    ExpectError(ErrorKind::kInvalidInput, {"eval.max_new_tokens_of", entry}, [&] {
      LoadEvalRows({(dir_ / "rows.jsonl").string()}, {.max_new_tokens_of = {entry}}, chat_);
    });
  }
}

TEST_F(EvalRowsTest, NoFilesIsAnError) {
  ExpectError(ErrorKind::kInvalidInput, {"data.test_files"}, [&] { LoadEvalRows({}, {}, chat_); });
}

}  // namespace
}  // namespace elrea
