// tokenizer.json: what is beside it, and every kind of damage.
#include "data/tokenizer_json.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/damage.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

void ExpectLoadError(const SortedJson& root, ErrorKind kind, const std::string& named) {
  try {
    LoadJsonTokenizer(root);
    ADD_FAILURE() << "loaded although it should name " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(error.message().find("tokenizer.json"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find(named), std::string::npos) << error.what();
  }
}

TEST(TokenizerJson, WrongTypesAndMissingFieldsAreNamed) {
  const SortedJson good = TinyTokenizerJson("gpt2");
  const auto with = [&](const char* pointer, const SortedJson& value) {
    SortedJson root = good;
    root[SortedJson::json_pointer(pointer)] = value;
    return root;
  };
  ExpectLoadError(SortedJson::array(), ErrorKind::kCorrupt, "not a JSON object");
  ExpectLoadError(SortedJson::object(), ErrorKind::kCorrupt, "model");
  ExpectLoadError(with("/model", 3), ErrorKind::kCorrupt, "model");
  ExpectLoadError(with("/model/vocab", SortedJson::array()), ErrorKind::kCorrupt, "vocab");
  ExpectLoadError(with("/model/vocab", SortedJson::object()), ErrorKind::kCorrupt, "vocab");
  ExpectLoadError(with("/model/vocab/a", "x"), ErrorKind::kCorrupt, "\"a\"");
  ExpectLoadError(with("/model/vocab/a", -1), ErrorKind::kCorrupt, "-1");
  ExpectLoadError(with("/model/vocab/a", 1e9), ErrorKind::kCorrupt, "\"a\"");
  ExpectLoadError(with("/model/vocab/a", 4000000000u), ErrorKind::kCorrupt, "4000000000");
  ExpectLoadError(with("/model/merges", "a b"), ErrorKind::kCorrupt, "merges");
  ExpectLoadError(with("/model/merges/0", 7), ErrorKind::kCorrupt, "merges[0]");
  ExpectLoadError(with("/model/merges/0", "ab"), ErrorKind::kCorrupt, "merges[0]");
  ExpectLoadError(with("/model/merges/1", SortedJson{"a", "\u1234"}), ErrorKind::kCorrupt, "merges[1]");
  ExpectLoadError(with("/model/unk_token", "<none>"), ErrorKind::kCorrupt, "<none>");
  ExpectLoadError(with("/model/byte_fallback", "yes"), ErrorKind::kCorrupt, "byte_fallback");
  ExpectLoadError(with("/added_tokens", 1), ErrorKind::kCorrupt, "added_tokens");
  ExpectLoadError(with("/added_tokens/0", 1), ErrorKind::kCorrupt, "added_tokens");
  ExpectLoadError(with("/added_tokens/0/id", 1 << 30), ErrorKind::kCorrupt, "out of range");
  ExpectLoadError(with("/added_tokens/0/content", nullptr), ErrorKind::kCorrupt, "content");
  ExpectLoadError(with("/pre_tokenizer", "ByteLevel"), ErrorKind::kCorrupt, "pre_tokenizer");
}

TEST(TokenizerJson, UnsupportedKindsSayWhatIs) {
  const SortedJson good = TinyTokenizerJson("gpt2");
  const auto with = [&](const SortedJson& patch) {
    SortedJson root = good;
    root.merge_patch(patch);
    return root;
  };
  ExpectLoadError(with({{"model", {{"type", "WordLevel"}}}}), ErrorKind::kInvalidInput, "WordLevel");
  ExpectLoadError(with({{"model", {{"dropout", 0.1}}}}), ErrorKind::kInvalidInput, "dropout");
  ExpectLoadError(with({{"decoder", {{"type", "Morse"}}}}), ErrorKind::kInvalidInput, "Morse");
  ExpectLoadError(with({{"post_processor", {{"type", "Wrap"}}}}), ErrorKind::kInvalidInput, "Wrap");
  ExpectLoadError(with({{"normalizer", {{"type", "Rot13"}}}}), ErrorKind::kInvalidInput, "Rot13");
  ExpectLoadError(with({{"pre_tokenizer", {{"type", "Letters"}}}}), ErrorKind::kInvalidInput, "Letters");
  const SortedJson bad_regex = {{"type", "Split"}, {"pattern", {{"Regex", "a("}}}, {"behavior", "Isolated"}};
  ExpectLoadError(with({{"pre_tokenizer", bad_regex}}), ErrorKind::kInvalidInput, "a(");
  const SortedJson bad_behavior = {
      {"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Sideways"}};
  ExpectLoadError(with({{"pre_tokenizer", bad_behavior}}), ErrorKind::kInvalidInput, "Sideways");
}

TEST(TokenizerJson, TruncationAnywhereIsCorrupt) {
  const std::string whole = TinyTokenizerJson("gemma").dump();
  const TempDir folder;
  for (size_t length = 0; length < whole.size(); length += 1 + length / 7) {
    std::ofstream(folder / "tokenizer.json", std::ios::binary) << whole.substr(0, length);
    try {
      Tokenizer::Load(folder.path());
      ADD_FAILURE() << "loaded " << length << " bytes";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.what();
    }
  }
}

// A flipped byte may leave a different but sound file; it must never do worse.
TEST(TokenizerJson, FlippedBytesLoadOrThrowError) {
  const std::string whole = TinyTokenizerJson("flags").dump();
  const TempDir folder;
  Rng rng(7);
  int refused = 0;
  for (int i = 0; i < 300 * DamageEffort(); ++i) {
    std::string damaged = whole;
    for (int flips = 0; flips < 3; ++flips)
      damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
    std::ofstream(folder / "tokenizer.json", std::ios::binary) << damaged;
    try {
      Tokenizer::Load(folder.path())->Encode("The quick brown fox 42\n", SpecialTokens::kParse);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(TokenizerJson, ReadsWhatIsBesideIt) {
  const TempDir folder;
  WriteFileAtomically(folder / "tokenizer.json", TinyTokenizerJson("smollm").dump());
  {
    const auto bare = Tokenizer::Load(folder.path());
    EXPECT_FALSE(bare->bos().has_value());
    EXPECT_FALSE(bare->add_bos());
    EXPECT_EQ(bare->chat_template(), "");
  }
  const SortedJson config = {{"bos_token", "<|im_start|>"},
                             {"eos_token", {{"content", "<|im_end|>"}}},
                             {"add_bos_token", true},
                             {"chat_template", {{{"name", "default"}, {"template", "from config"}}}}};
  WriteFileAtomically(folder / "tokenizer_config.json", config.dump());
  const auto configured = Tokenizer::Load(folder / "tokenizer.json");
  EXPECT_EQ(configured->bos(), configured->FindToken("<|im_start|>"));
  EXPECT_EQ(configured->eos(), configured->FindToken("<|im_end|>"));
  EXPECT_TRUE(configured->add_bos());
  EXPECT_EQ(configured->chat_template(), "from config");
  WriteFileAtomically(folder / "chat_template.jinja", "from file");
  EXPECT_EQ(Tokenizer::Load(folder.path())->chat_template(), "from file");
  WriteFileAtomically(folder / "tokenizer_config.json", R"({"eos_token": "<none>"})");
  EXPECT_THROW(Tokenizer::Load(folder.path()), Error);
}

TEST(TokenizerJson, PostProcessorTellsBos) {
  SortedJson root = TinyTokenizerJson("gemma");
  root["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {{{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}}}},
                            {"special_tokens", {{"<bos>", {{"id", "<bos>"}, {"ids", {2}}}}}}};
  const auto tokenizer = LoadJsonTokenizer(root);
  EXPECT_EQ(tokenizer->bos(), tokenizer->FindToken("<bos>"));
  EXPECT_TRUE(tokenizer->add_bos());
}

}  // namespace
}  // namespace elrea
