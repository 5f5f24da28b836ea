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
    return LoadEvalRows({(dir_ / "rows.jsonl").string()}, limit, chat_);
  }

  TempDir dir_;
  std::unique_ptr<Tokenizer> tokenizer_ =
      Tokenizer::Load(fs::path(ELREA_SOURCE_DIR) / "tests/golden/pipeline_model");
  ChatTemplate chat_ = ChatTemplate::For(*tokenizer_, "auto");
};

TEST_F(EvalRowsTest, TakesTheReferenceResponseOrElseTheAnswer) {
  const std::vector<EvalRow> rows = Load(
      "{\"prompt\": \"1+1?\", \"output\": \"It is \\\\boxed{2}\", \"source\": \"sums\"}\n"
      "{\"prompt\": \"2+2?\", \"answer\": 4}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"3+3?\"}], \"answer\": \"6\"}\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].gold, "2");
  EXPECT_EQ(rows[0].source, "sums");
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

TEST_F(EvalRowsTest, NoFilesIsAnError) {
  ExpectError(ErrorKind::kInvalidInput, {"data.test_files"}, [&] { LoadEvalRows({}, 0, chat_); });
}

}  // namespace
}  // namespace elrea
