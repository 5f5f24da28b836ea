// Against sentence-transformers on a tiny random encoder (tools/oracle/encoder_golden.py), and every kind of
// damage.
#include "encoder/sentence_encoder.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/damage.h"
#include "core/error.h"
#include "core/expect_error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

fs::path TinyEncoder() { return fs::path(ELREA_SOURCE_DIR) / "tests/golden/encoder_tiny"; }

struct Golden {
  std::vector<std::string> texts;
  std::vector<std::vector<float>> embeddings;
};

Golden ReadGolden() {
  Golden golden;
  for (const SortedJson& entry : ReadSortedJsonFile(TinyEncoder() / "golden.json")) {
    golden.texts.push_back(entry["text"]);
    golden.embeddings.push_back(entry["embedding"]);
  }
  return golden;
}

// A copy of the tiny encoder to damage.
class DamagedEncoder : public testing::Test {
 protected:
  void SetUp() override { fs::copy(TinyEncoder(), folder_.path(), fs::copy_options::recursive); }
  void Patch(const std::string& file, const SortedJson& patch) {
    SortedJson root = ReadSortedJsonFile(folder_ / file);
    root.merge_patch(patch);
    WriteFileAtomically(folder_ / file, root.dump());
  }
  void ExpectFault(ErrorKind kind, const std::string& named) {
    ExpectError(kind, {named}, [&] { SentenceEncoder::Load(folder_.path()); });
  }
  const TempDir folder_;
};

TEST(SentenceEncoder, EqualsSentenceTransformers) {
  const Golden golden = ReadGolden();
  const SentenceEncoder encoder = SentenceEncoder::Load(TinyEncoder());
  EXPECT_EQ(encoder.max_tokens(), 32);
  int64_t num_cut = 0;
  const torch::Tensor got = encoder.Embed(golden.texts, &num_cut);
  EXPECT_EQ(num_cut, 2) << "so many have over 30 tokens";
  ASSERT_EQ(got.sizes(), (std::vector<int64_t>{static_cast<int64_t>(golden.texts.size()), encoder.dim()}));
  for (size_t i = 0; i < golden.texts.size(); ++i) {
    const torch::Tensor expected = torch::tensor(golden.embeddings[i]);
    EXPECT_LT((got[static_cast<int64_t>(i)] - expected).abs().max().item<float>(), 2e-6F) << golden.texts[i];
  }
}

TEST(SentenceEncoder, RowsDoNotDependOnTheirBatch) {
  const Golden golden = ReadGolden();
  const SentenceEncoder encoder = SentenceEncoder::Load(TinyEncoder());
  const torch::Tensor together = encoder.Embed(golden.texts);
  for (size_t i = 0; i < golden.texts.size(); i += 7) {
    const torch::Tensor alone = encoder.Embed(std::span(golden.texts).subspan(i, 1));
    EXPECT_LT((alone[0] - together[static_cast<int64_t>(i)]).abs().max().item<float>(), 2e-6F);
  }
  EXPECT_EQ(encoder.Embed({}).sizes(), (std::vector<int64_t>{0, encoder.dim()}));
}

TEST_F(DamagedEncoder, PoolingsAreWhatTheySay) {
  const std::vector<std::string> text = {"the quick brown fox"};
  const torch::Tensor mean = SentenceEncoder::Load(folder_.path()).Embed(text);
  WriteFileAtomically(folder_ / "1_Pooling/config.json",
                      R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false})");
  EXPECT_TRUE(torch::equal(SentenceEncoder::Load(folder_.path()).Embed(text), mean)) << "the older spelling";
  for (const char* mode : {"cls", "max"}) {
    Patch("1_Pooling/config.json", {{"pooling_mode_mean_tokens", false}, {"pooling_mode", mode}});
    const torch::Tensor other = SentenceEncoder::Load(folder_.path()).Embed(text);
    EXPECT_GT((other - mean).abs().max().item<float>(), 1e-3F) << mode;
    EXPECT_NEAR(other.norm().item<float>(), 1, 1e-5) << mode;
  }
  Patch("1_Pooling/config.json", {{"pooling_mode", "lasttoken"}});
  ExpectFault(ErrorKind::kInvalidInput, "lasttoken");
  Patch("1_Pooling/config.json", {{"pooling_mode", "mean"}, {"pooling_mode_max_tokens", true}});
  ExpectFault(ErrorKind::kInvalidInput, "mean and max");
}

TEST_F(DamagedEncoder, ConfigsAreNotBelieved) {
  const auto with = [&](const SortedJson& patch, ErrorKind kind, const std::string& named) {
    const std::string good = ReadFile(folder_ / "config.json");
    Patch("config.json", patch);
    ExpectFault(kind, named);
    WriteFileAtomically(folder_ / "config.json", good);
  };
  with({{"model_type", "roberta"}}, ErrorKind::kInvalidInput, "roberta");
  with({{"hidden_act", "swiglu"}}, ErrorKind::kInvalidInput, "swiglu");
  with({{"position_embedding_type", "relative_key"}}, ErrorKind::kInvalidInput, "relative_key");
  with({{"hidden_size", int64_t{1} << 60}}, ErrorKind::kCorrupt, "hidden_size");
  with({{"num_hidden_layers", 1000000}}, ErrorKind::kCorrupt, "encoder.layer.999999");
  with({{"num_hidden_layers", nullptr}}, ErrorKind::kCorrupt, "num_hidden_layers");
  with({{"num_attention_heads", 3}}, ErrorKind::kCorrupt, "num_attention_heads");
  with({{"intermediate_size", 25}}, ErrorKind::kCorrupt, "intermediate.dense.weight");
  with({{"vocab_size", 300}}, ErrorKind::kCorrupt, "word_embeddings");
  Patch("tokenizer_config.json", {{"model_max_length", 1}});
  ExpectFault(ErrorKind::kCorrupt, "max_seq_length");
}

TEST_F(DamagedEncoder, MissingAndBrokenFilesAreNamed) {
  const std::string weights = ReadFile(folder_ / "model.safetensors");
  for (const size_t length : {size_t{0}, size_t{7}, size_t{500}, weights.size() - 1}) {
    WriteFileAtomically(folder_ / "model.safetensors", weights.substr(0, length));
    ExpectFault(ErrorKind::kCorrupt, "model.safetensors");
  }
  fs::remove(folder_ / "model.safetensors");
  ExpectFault(ErrorKind::kNotFound, "model fetch minilm");
  WriteFileAtomically(folder_ / "pytorch_model.bin", "pickle");
  ExpectFault(ErrorKind::kInvalidInput, "pickle");
  WriteFileAtomically(folder_ / "model.safetensors", weights);
  Patch("modules.json", SortedJson::parse(R"([{"type": "a.b.Dense", "path": "3"}])"));
  ExpectFault(ErrorKind::kInvalidInput, "a.b.Dense");
  fs::remove(folder_ / "tokenizer.json");
  ExpectFault(ErrorKind::kNotFound, "tokenizer.json");
}

// Whatever is cut or flipped in any file of an encoder: it embeds, or an Error names its folder.
TEST_F(DamagedEncoder, DamagedFilesNeverDoMoreThanThrow) {
  const std::vector<std::string> texts = {"the quick brown fox", "\u00e9 42"};
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json",
                           "sentence_bert_config.json", "1_Pooling/config.json"}) {
    const DamageOptions options{.cut_every = fs::file_size(folder_ / file) / 15 + 1, .flips = 40, .flip_within = 4096};
    const DamageCounts counts = ReadDamaged(folder_ / file, folder_.path().string(), options, [&] {
      SentenceEncoder::Load(folder_.path()).Embed(texts);
    });
    EXPECT_GT(counts.refused, counts.cuts / 2) << file;
  }
}

}  // namespace
}  // namespace elrea
