// tokenizer.model: against the sentencepiece library, what is beside it, and every kind of damage.
#include "data/tokenizer_sentencepiece.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/damage.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

class SentencePieceGolden : public testing::TestWithParam<const char*> {};

std::string ModelFile(const std::string& name) { return "tokenizer_tiny_" + name + ".model"; }

TEST_P(SentencePieceGolden, EqualsTheLibrary) {
  const SortedJson golden = ReadSortedJsonFile(GoldenPath("tokenizer_tiny_model.json"))[GetParam()];
  const auto tokenizer = Tokenizer::Load(GoldenPath(ModelFile(GetParam())));
  for (const SortedJson& golden_case : golden["cases"]) {
    const auto text = golden_case["text"].get<std::string>();
    const auto tokens = tokenizer->Encode(text, SpecialTokens::kAsText);
    EXPECT_EQ(tokens, golden_case["ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(tokenizer->Decode(tokens, true), golden_case["decoded"].get<std::string>()) << text;
  }
  for (const SortedJson& golden_case : golden["decodings"]) {
    const auto tokens = golden_case["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->Decode(tokens, true), golden_case["decoded"].get<std::string>()) << golden_case;
  }
}
INSTANTIATE_TEST_SUITE_P(Models, SentencePieceGolden,
                         testing::Values("bpe", "bpe_bytes", "unigram", "unigram_bytes", "suffix"));

TEST(SentencePiece, AFolderWithoutTokenizerJsonIsReadFromTokenizerModel) {
  const TempDir folder;
  fs::copy_file(GoldenPath(ModelFile("bpe_bytes")), folder / "tokenizer.model");
  {
    const auto bare = Tokenizer::Load(folder.path());
    EXPECT_EQ(bare->bos(), 1);  // the model's own pieces
    EXPECT_EQ(bare->eos(), 2);
    EXPECT_TRUE(bare->add_bos());
    EXPECT_EQ(bare->Encode("<s>a", SpecialTokens::kParse).front(), 1);
    EXPECT_NE(bare->Encode("<s>a", SpecialTokens::kAsText).front(), 1);
  }
  const int64_t pieces = Tokenizer::Load(folder.path())->vocab_size();
  const SortedJson config = {{"eos_token", "<end>"},
                             {"add_bos_token", false},
                             {"chat_template", "{{ x }}"},
                             {"added_tokens_decoder",
                              {{std::to_string(pieces + 1), {{"content", "<end>"}, {"special", true}}},
                               {"0", {{"content", "<unk>"}, {"special", true}}}}}};
  WriteFileAtomically(folder / "tokenizer_config.json", config.dump());
  const auto configured = Tokenizer::Load(folder.path());
  EXPECT_EQ(configured->vocab_size(), pieces + 2);
  EXPECT_EQ(configured->eos(), pieces + 1);
  EXPECT_FALSE(configured->add_bos());
  EXPECT_EQ(configured->chat_template(), "{{ x }}");
  EXPECT_EQ(configured->Encode("a<end>", SpecialTokens::kParse).back(), pieces + 1);
  WriteFileAtomically(folder / "tokenizer_config.json",
                      R"({"added_tokens_decoder": {"x": {"content": "a"}}})");
  EXPECT_THROW(Tokenizer::Load(folder.path()), Error);
}

// Loads the bytes as a tokenizer.model and encodes; the error, or nothing.
std::optional<Error> Try(const std::string& bytes) {
  const TempDir folder;
  std::ofstream(folder / "tokenizer.model", std::ios::binary) << bytes;
  try {
    const auto tokenizer = Tokenizer::Load(folder / "tokenizer.model");
    tokenizer->Decode(tokenizer->Encode("The quick brown fox \u00e9 42\n", SpecialTokens::kParse), false);
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

void ExpectFault(const std::string& bytes, ErrorKind kind, const std::string& named) {
  const auto error = Try(bytes);
  ASSERT_TRUE(error.has_value()) << "loaded although it should name " << named;
  EXPECT_EQ(error->kind(), kind) << error->what();
  EXPECT_NE(error->message().find("tokenizer.model"), std::string::npos) << error->what();
  EXPECT_NE(error->message().find(named), std::string::npos) << error->what();
}

TEST(SentencePiece, TruncatedOrFlippedFilesLoadOrThrowError) {
  for (const char* name : {"bpe", "unigram"}) {
    const std::string whole = ReadFile(GoldenPath(ModelFile(name)));
    ASSERT_FALSE(Try(whole).has_value());
    int refused = 0;
    for (size_t length = 0; length < whole.size(); length += 1 + length / 7)
      refused += Try(whole.substr(0, length)).has_value();
    EXPECT_GT(refused, 20);
    Rng rng(13);
    refused = 0;
    for (int i = 0; i < 150 * DamageEffort(); ++i) {
      std::string damaged = whole;
      for (int flips = 0; flips < 3; ++flips)
        damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
      refused += Try(damaged).has_value();
    }
    EXPECT_GT(refused, 25);
  }
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string Message(uint32_t number, const std::string& bytes) {
  return Varint(number << 3 | 2) + Varint(bytes.size()) + bytes;
}

std::string Piece(const std::string& text, uint64_t type, const std::string& score = std::string(4, '\0')) {
  return Message(1, Message(1, text) + Varint(2 << 3 | 5) + score + Varint(3 << 3) + Varint(type));
}

TEST(SentencePiece, FaultsAreNamed) {
  const auto corrupt = ErrorKind::kCorrupt;
  const std::string unknown = Piece("<unk>", 2), good = unknown + Piece("a", 1);
  ASSERT_FALSE(Try(good).has_value());
  ExpectFault("", corrupt, "pieces");
  ExpectFault(good + Varint(1 << 3 | 2) + Varint(uint64_t{1} << 60), corrupt, "1152921504606846976 bytes");
  ExpectFault(good + std::string(12, '\xFF'), corrupt, "ten bytes");
  ExpectFault(good + Varint(9 << 3 | 3), corrupt, "unknown type 3");
  ExpectFault(good + Varint(1 << 3) + Varint(5), corrupt, "pieces");
  ExpectFault(Piece("a", 1), corrupt, "UNKNOWN");
  ExpectFault(good + unknown, corrupt, "twice");
  ExpectFault(good + Piece("a", 1), corrupt, "\"a\"");
  ExpectFault(good + Piece("b", 9), corrupt, "pieces[2].type");
  ExpectFault(good + Piece("", 1), corrupt, "pieces[2].piece");
  ExpectFault(good + Piece("\xff", 1), corrupt, "piece");
  ExpectFault(good + Piece(std::string(5000, 'x'), 1), corrupt, "5000");
  ExpectFault(good + Piece("b", 1, std::string("\0\0\xC0\x7F", 4)), corrupt, "pieces[2].score");
  ExpectFault(good + Piece("b", 6), corrupt, "no byte");
  ExpectFault(good + Message(2, Varint(35 << 3) + Varint(1)), corrupt, "byte_fallback");
  ExpectFault(good + Message(2, Varint(3 << 3) + Varint(3)), ErrorKind::kInvalidInput, "model_type 3");
  ExpectFault(good + Message(3, Message(2, "abcdefgh")), corrupt, "precompiled_charsmap");
  ExpectFault(good + Message(3, Message(2, "ab")), corrupt, "precompiled_charsmap");
  ExpectFault(good + Message(5, Message(2, "abcdefgh")), ErrorKind::kInvalidInput, "denormalizer_spec");
  const std::string bpe = Message(2, Varint(3 << 3) + Varint(2));
  ExpectFault(good + Piece("ab", 1) + bpe, ErrorKind::kInvalidInput, "\"ab\"");
  ExpectFault(good + Piece("b", 5) + bpe, ErrorKind::kInvalidInput, "UNUSED");
}

// A charsmap's trie may point anywhere; looking things up in it must stay inside.
TEST(SentencePiece, AnyTrieIsSafe) {
  Rng rng(17);
  for (int i = 0; i < 100 * DamageEffort(); ++i) {
    std::string blob("\x40\0\0\0", 4);
    for (int byte = 0; byte < 64; ++byte) blob += static_cast<char>(rng.Below(256));
    blob += std::string("a\0bc\0", 5);
    const auto error = Try(Piece("<unk>", 2) + Piece("a", 1) + Message(3, Message(2, blob)));
    EXPECT_FALSE(error.has_value()) << error->what();
  }
}

TEST(DecodeBase64, RoundTripsAndRefusesWhatIsNone) {
  EXPECT_EQ(DecodeBase64("", "x"), "");
  EXPECT_EQ(DecodeBase64("TWFu", "x"), "Man");
  EXPECT_EQ(DecodeBase64("TWE=", "x"), "Ma");
  EXPECT_EQ(DecodeBase64("TQ==", "x"), "M");
  EXPECT_EQ(DecodeBase64("/+8A", "x"), std::string("\xFF\xEF\0", 3));
  for (const char* bad : {"TQ", "T===", "T*==", "TQ==TQ==", "TW\n="}) {
    EXPECT_THROW(DecodeBase64(bad, "x"), Error) << bad;
  }
}

}  // namespace
}  // namespace elrea
