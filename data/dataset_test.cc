// LoadDataset with a tokenizer of bytes, so that token counts are obvious.
#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "data/token_contract.h"
#include "data/token_file.h"

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
  DatasetPlace place() const { return {dir_ / "kept", "rows"}; }
  Dataset Load(const DatasetOptions& options) {
    written_ = WriteDataset(options, tokenizer_, chat_, place());
    return Open(options.max_tokens);
  }
  Dataset Open(int64_t max_tokens = DatasetOptions().max_tokens) {
    return OpenDataset(place(), written_.checksum, max_tokens, tokenizer_, chat_);
  }
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
  WrittenDataset written_;
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
  ASSERT_EQ(data.texts->num_rows(), 3);
  EXPECT_EQ(data.sources, (std::vector<std::string>{"x", "one"}));
  EXPECT_EQ(data.rows[0].source_id, 0);
  EXPECT_EQ(data.rows[1].source_id, 1);
  EXPECT_EQ(data.rows[2].source_id, 0);
  for (size_t i = 0; i < data.rows.size(); ++i) {
    const TokenRow& row = data.rows[i];
    const ExampleRecord record = data.texts->Record(static_cast<int64_t>(i));
    const std::vector<int32_t> prompt = chat_.EncodePrompt(record.prompt);
    const std::vector<int32_t> response = chat_.EncodeResponse(record.response);
    EXPECT_EQ(record.source, data.sources[static_cast<size_t>(row.source_id)]);
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
  const DataLedger& ledger = written_.ledger;
  EXPECT_EQ(data.rows.size(), 2u);
  EXPECT_EQ(ledger.TotalRows(), 7);
  for (RowFate fate : {RowFate::kOverLong, RowFate::kEmptyResponse, RowFate::kEmptyInstruction,
                       RowFate::kDuplicate, RowFate::kMalformed}) {
    EXPECT_EQ(ledger.Total(fate), 1) << RowFateName(fate);
  }
  EXPECT_EQ(ledger.ToJson()["sources"]["y"]["duplicate"], 1);
  EXPECT_NE(ledger.FirstCulprits(RowFate::kDuplicate, 1).find("f.jsonl:2: equal to"), std::string::npos);
  EXPECT_NE(ledger.FirstCulprits(RowFate::kOverLong, 1).find("the limit is 200"), std::string::npos);
  EXPECT_NE(ledger.FirstCulprits(RowFate::kMalformed, 1).find("f.jsonl:6"), std::string::npos);
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

TEST_F(LoadDatasetTest, InMemoryAndFromTheirFileRowsAreTheSame) {
  const DatasetOptions options{.files = {Write("f.jsonl", R"({"instruction": "ab", "output": "c", "source": "x"})"
                                                          "\n"
                                                          R"({"instruction": "b", "output": "", "source": "x"})"
                                                          "\n"
                                                          R"({"instruction": "de", "output": "fg"})"
                                                          "\n")}};
  const Dataset kept = Load(options), loaded = LoadDataset(options, tokenizer_, chat_);
  EXPECT_EQ(kept.sources, loaded.sources);
  ASSERT_EQ(kept.rows.size(), 2u);
  ASSERT_EQ(loaded.rows.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::ranges::equal(kept.rows[i].tokens, loaded.rows[i].tokens));
    EXPECT_EQ(kept.rows[i].num_prompt, loaded.rows[i].num_prompt);
    EXPECT_EQ(kept.rows[i].source_id, loaded.rows[i].source_id);
  }
  EXPECT_EQ(JsonLine(ParseJson(ReadFile(place().rows()).substr(0, ReadFile(place().rows()).find('\n')), "row")["origin"]),
            "\"" + options.files[0] + ":1\"");
}

// A row's tokens are made once, again only where they would be others, and a damaged file of them is never believed.
TEST_F(LoadDatasetTest, TokensAreKeptAndMadeAgainWhereTheyMustBe) {
  const std::string rows = R"({"instruction": "abc", "output": "d"})"
                           "\n"
                           R"({"instruction": "a", "output": "d"})"
                           "\n";
  const size_t num_tokens = Load({.files = {Write("f.jsonl", rows)}}).rows[0].tokens.size();
  const std::string kept = ReadFile(place().tokens());

  // Other tokens under the same key, which nothing but the file can tell of.
  {
    TokenFileWriter other(place().tokens());
    other.Add(std::vector<int32_t>{7, 8}, 1, "f");
    other.Commit({{"rows", written_.checksum},
                  {"max_tokens", DatasetOptions().max_tokens},
                  {"contract", TokenContract::Of(tokenizer_, chat_).ToJson()}});
  }
  EXPECT_EQ(Open().rows[0].tokens.size(), 2u) << "tokens were made again";

  const auto expect_made_again = [&](const char* what) {
    EXPECT_EQ(Open().rows[0].tokens.size(), num_tokens) << what;
    EXPECT_EQ(ReadFile(place().tokens()), kept) << what;
  };
  fs::remove(place().tokens());
  expect_made_again("missing");
  for (size_t at = 0; at < kept.size(); at += 11) {  // every file made again waits for the disk
    std::string damaged = kept;
    damaged[at] ^= 1;
    WriteUnsynced(place().tokens(), at % 3 == 0 ? kept.substr(0, at) : damaged);
    expect_made_again("damaged");
  }
  Open(static_cast<int64_t>(num_tokens));
  EXPECT_NE(ReadFile(place().tokens()), kept) << "another limit, another key";
  ExpectError(ErrorKind::kCorrupt, {"rows.jsonl", "1 over_long"}, [&] { Open(static_cast<int64_t>(num_tokens) - 1); });
}

TEST_F(LoadDatasetTest, ARefusedFileLeavesNothing) {
  LoadError({.files = {Write("f.jsonl", "oops\n")}}, ErrorKind::kInvalidInput);
  EXPECT_TRUE(fs::is_empty(dir_ / "kept"));
}

TEST_F(LoadDatasetTest, TokensOutsideTheVocabularyAreAFault) {
  const ByteTokenizer smaller(50);
  const DatasetOptions options{.files = {Write("f.jsonl", R"({"instruction": "zz", "output": "z"})")}};
  EXPECT_THROW(LoadDataset(options, smaller, chat_), Error);
}

}  // namespace
}  // namespace elrea
