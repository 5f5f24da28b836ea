// GGUF metadata: the same small tokenizers, against `tokenizers` and sentencepiece, and damage.
#include "data/tokenizer_gguf.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/damage.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

TEST(TokenizerGguf, ByteLevelEqualsTheReference) {
  const auto tokenizer = Tokenizer::Load(GoldenPath("tokenizer_tiny_gpt2.gguf"));
  const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_tiny.json"));
  for (const SortedJson& golden_case : golden["cases"]) {
    ExpectGoldenIds(*tokenizer, GoldenText(golden_case), golden_case["by_variant"]["smollm"]);
  }
  EXPECT_EQ(tokenizer->eos(), tokenizer->FindToken("<|im_end|>"));
  EXPECT_FALSE(tokenizer->add_bos());
  // The same tokenizer from tokenizer.json.
  EXPECT_EQ(tokenizer->fingerprint(), LoadJsonTokenizer(TinyTokenizerJson("smollm"))->fingerprint());
}

TEST(TokenizerGguf, ScoredPiecesEqualSentencePiece) {
  const auto tokenizer = Tokenizer::Load(GoldenPath("tokenizer_tiny_llama.gguf"));
  const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_tiny_llama.json"));
  for (const SortedJson& golden_case : golden) {
    const std::string text = GoldenText(golden_case);
    const auto tokens = tokenizer->Encode(text, SpecialTokens::kAsText);
    EXPECT_EQ(tokens, golden_case["ids"].get<std::vector<int32_t>>()) << text;
    if (text.find("\u2581") == std::string::npos) {  // which is how it spells a space
      EXPECT_EQ(tokenizer->Decode(tokens, false), text);
    }
  }
  EXPECT_TRUE(tokenizer->add_bos());
}

// The unigram model of tokenizer_tiny_unigram.model, with its charsmap.
TEST(TokenizerGguf, UnigramPiecesEqualSentencePiece) {
  const auto tokenizer = Tokenizer::Load(GoldenPath("tokenizer_tiny_t5.gguf"));
  const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_tiny_model.json"))["unigram"];
  for (const SortedJson& golden_case : golden["cases"]) {
    const auto text = golden_case["text"].get<std::string>();
    EXPECT_EQ(tokenizer->Encode(text, SpecialTokens::kAsText), golden_case["ids"].get<std::vector<int32_t>>())
        << text;
  }
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->eos(), 2);
}

TEST(DeriveMerges, BestScoreFirstThenLongerLeftPart) {
  const Vocabulary vocabulary({"a", "b", "ab", "aba", "ba", "é", "éa"});
  const auto merges = DeriveMerges(vocabulary, {0, 0, -2, -1, -2, 0, -3});
  ASSERT_EQ(merges.size(), 5u);
  const auto expect = [&](size_t rank, int32_t left, int32_t right, int32_t merged) {
    EXPECT_EQ(merges[rank].left, left) << rank;
    EXPECT_EQ(merges[rank].right, right) << rank;
    EXPECT_EQ(merges[rank].merged, merged) << rank;
  };
  expect(0, 2, 0, 3);  // ab + a, before a + ba
  expect(1, 0, 4, 3);
  expect(2, 0, 1, 2);  // of equal score: by id
  expect(3, 1, 0, 4);
  expect(4, 5, 0, 6);  // cut between characters, not bytes
}

class GgufDamage : public testing::TestWithParam<const char*> {};

TEST_P(GgufDamage, TruncatedOrFlippedFilesLoadOrThrowError) {
  const std::string whole = ReadFile(GoldenPath(GetParam()));
  const TempDir folder;
  const fs::path path = folder / "damaged.gguf";
  const auto survives = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      Tokenizer::Load(path)->Encode("The quick brown fox 42\n", SpecialTokens::kParse);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  for (size_t length = 0; length + 64 < whole.size(); length += 1 + whole.size() / 100) {
    EXPECT_FALSE(survives(whole.substr(0, length))) << length;
  }
  Rng rng(11);
  int refused = 0;
  for (int i = 0; i < 300 * DamageEffort(); ++i) {
    std::string damaged = whole;
    for (int flips = 0; flips < 4; ++flips)
      damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
    refused += !survives(damaged);
  }
  EXPECT_GT(refused, 10);
}
INSTANTIATE_TEST_SUITE_P(Files, GgufDamage,
                         testing::Values("tokenizer_tiny_gpt2.gguf", "tokenizer_tiny_llama.gguf",
                                         "tokenizer_tiny_t5.gguf"));

// Replaces a string value of equal length inside the file.
void ExpectReplacedIsInvalid(const std::string& from, const std::string& to) {
  std::string bytes = ReadFile(GoldenPath("tokenizer_tiny_gpt2.gguf"));
  const size_t at = bytes.find(from);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, from.size(), to);
  const TempDir folder;
  WriteFileAtomically(folder / "other.gguf", bytes);
  try {
    Tokenizer::Load(folder / "other.gguf");
    FAIL() << to;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find(to), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("other.gguf"), std::string::npos) << error.message();
  }
}

TEST(TokenizerGguf, UnsupportedKindsAreNamed) {
  ExpectReplacedIsInvalid("smollm", "tekken");
  ExpectReplacedIsInvalid("gpt2", "bert");
}

}  // namespace
}  // namespace elrea
