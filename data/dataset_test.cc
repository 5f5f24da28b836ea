// LoadDataset with a tokenizer of bytes, so that token counts are obvious.
#include "data/dataset.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

// One token a byte; byte 0 ends a text.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(int64_t vocab_size = 256) {
    vocab_size_ = vocab_size;
    eos_ = 0;
  }
  std::vector<int32_t> Encode(std::string_view text, SpecialTokens) const override {
    std::vector<int32_t> tokens;
    for (char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string TokenBytes(int32_t token, bool) const override {
    return std::string(1, static_cast<char>(token));
  }
};

class LoadDatasetTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    WriteFileAtomically(dir_ / name, text);
    return (dir_ / name).string();
  }
  Dataset Load(const DatasetOptions& options) { return LoadDataset(options, tokenizer_, chat_); }
  std::string LoadError(const DatasetOptions& options, ErrorKind kind) {
    try {
      Load(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
  }

  TempDir dir_;
  ByteTokenizer tokenizer_;
  ChatTemplate chat_ = ChatTemplate::For(tokenizer_, "plain");
};

TEST_F(LoadDatasetTest, RowsOfSeveralFilesInOrderWithSources) {
  const std::string first = Write("one.jsonl", R"({"instruction": "ab", "output": "c", "source": "x"})"
                                               "\n"
                                               R"({"instruction": "de", "output": "fg"})"
                                               "\n");
  const std::string second = Write("two.jsonl", R"({"prompt": "hi", "answer": "jk", "source": "x"})");
  const Dataset data = Load({.files = {first, second}});
  ASSERT_EQ(data.rows.size(), 3u);
  ASSERT_EQ(data.records.size(), 3u);
  EXPECT_EQ(data.sources, (std::vector<std::string>{"x", "one"}));
  EXPECT_EQ(data.rows[0].source_id, 0);
  EXPECT_EQ(data.rows[1].source_id, 1);
  EXPECT_EQ(data.rows[2].source_id, 0);
  EXPECT_EQ(data.records[2].file, second);
  for (size_t i = 0; i < data.rows.size(); ++i) {
    const TokenRow& row = data.rows[i];
    const std::vector<int32_t> prompt = chat_.EncodePrompt(data.records[i].prompt);
    const std::vector<int32_t> response = chat_.EncodeResponse(data.records[i].response);
    ASSERT_EQ(row.num_prompt, static_cast<int64_t>(prompt.size()));
    ASSERT_EQ(row.tokens.size(), prompt.size() + response.size());
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), row.tokens.begin()));
    EXPECT_TRUE(std::equal(response.begin(), response.end(), row.tokens.begin() + row.num_prompt));
  }
}

TEST_F(LoadDatasetTest, EveryFateIsCounted) {
  const std::string rows = R"({"instruction": "a", "output": "b"})"
                           "\n"  // kept
                           R"({"instruction": "a", "output": "b", "source": "y"})"
                           "\n"  // duplicate, whatever its source
                           R"({"instruction": "a", "output": "c"})"
                           "\n"  // kept: another response
                           R"({"instruction": "", "output": "b"})"
                           "\n"  // no instruction
                           R"({"instruction": "a", "output": ""})"
                           "\n"  // no response
                           "oops\n"
                           R"({"instruction": ")" +
                           std::string(300, 'a') +
                           R"(", "output": "b"})"
                           "\n";  // over-long
  const Dataset data = Load({.files = {Write("f.jsonl", rows)}, .max_tokens = 200});
  EXPECT_EQ(data.rows.size(), 2u);
  EXPECT_EQ(data.ledger.TotalRows(), 7);
  for (RowFate fate : {RowFate::kOverLong, RowFate::kEmptyResponse, RowFate::kEmptyInstruction,
                       RowFate::kDuplicate, RowFate::kMalformed}) {
    EXPECT_EQ(data.ledger.Total(fate), 1) << RowFateName(fate);
  }
  EXPECT_EQ(data.ledger.ToJson()["sources"]["y"]["duplicate"], 1);
  EXPECT_NE(data.ledger.FirstCulprits(RowFate::kDuplicate, 1).find("f.jsonl:2: equal to"), std::string::npos);
  EXPECT_NE(data.ledger.FirstCulprits(RowFate::kOverLong, 1).find("the limit is 200"), std::string::npos);
  EXPECT_NE(data.ledger.FirstCulprits(RowFate::kMalformed, 1).find("f.jsonl:6"), std::string::npos);
}

TEST_F(LoadDatasetTest, LengthLimitIsInclusive) {
  const std::string file = Write("f.jsonl", R"({"instruction": "ab", "output": "c"})");
  const auto length = static_cast<int64_t>(Load({.files = {file}}).rows[0].tokens.size());
  EXPECT_EQ(Load({.files = {file}, .max_tokens = length}).rows.size(), 1u);
  const std::string why = LoadError({.files = {file}, .max_tokens = length - 1}, ErrorKind::kInvalidInput);
  EXPECT_NE(why.find("f.jsonl: no usable row (1 rows: 0 kept, 1 over_long)"), std::string::npos) << why;
}

TEST_F(LoadDatasetTest, DuplicatesMayBeKept) {
  const std::string row = R"({"instruction": "a", "output": "b"})"
                          "\n";
  const std::string file = Write("f.jsonl", row + row);
  EXPECT_EQ(Load({.files = {file, file}, .drop_duplicates = true}).rows.size(), 1u);
  EXPECT_EQ(Load({.files = {file, file}, .drop_duplicates = false}).rows.size(), 4u);
}

TEST_F(LoadDatasetTest, TooManyMalformedLinesNameTheFileAndTheLines) {
  const std::string good = R"({"instruction": "a", "output": "b"})"
                           "\n";
  const std::string fine = Write("fine.jsonl", good + "x\n");  // exactly half is still accepted
  EXPECT_EQ(Load({.files = {fine}}).rows.size(), 1u);
  const std::string wrong = Write("wrong.jsonl", "x\n" + good + "{}\n");
  const std::string why = LoadError({.files = {fine, wrong}}, ErrorKind::kInvalidInput);
  for (const char* part : {"wrong.jsonl: 2 of its 3 lines are malformed", "wrong.jsonl:1", "wrong.jsonl:3"}) {
    EXPECT_NE(why.find(part), std::string::npos) << part << ": " << why;
  }
}

TEST_F(LoadDatasetTest, EmptyMissingAndNoFilesAreErrors) {
  EXPECT_NE(LoadError({.files = {Write("e.jsonl", "\n")}}, ErrorKind::kInvalidInput).find("e.jsonl is empty"),
            std::string::npos);
  EXPECT_NE(LoadError({.files = {(dir_ / "no.jsonl").string()}}, ErrorKind::kNotFound).find("no.jsonl"),
            std::string::npos);
  EXPECT_NE(LoadError({}, ErrorKind::kInvalidInput).find("data.files"), std::string::npos);
}

TEST_F(LoadDatasetTest, TokensOutsideTheVocabularyAreAFault) {
  const ByteTokenizer smaller(50);
  const DatasetOptions options{.files = {Write("f.jsonl", R"({"instruction": "zz", "output": "z"})")}};
  EXPECT_THROW(LoadDataset(options, smaller, chat_), Error);
}

}  // namespace
}  // namespace elrea
