// Texts under packed weights, where the decode engine reads adapters through views by their addresses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>

#include "core/temp_dir.h"
#include "ensemble/decode_batch.h"
#include "ensemble/generate.h"
#include "ensemble/prefix_cache.h"
#include "ensemble/testing.h"
#include "lora/testing.h"
#include "model/packed_matrix.h"
#include "model/packed_weights.h"
#include "model/testing.h"
#include "model/testing_packed.h"

namespace elrea {
namespace {

class PackedGenerator : public testing::Test {
 protected:
  void SetUp() override {
    if (!PackedMatrix::Serves(GgmlType::kQ8_0, 16, 32)) GTEST_SKIP() << "this processor lacks AVX-512 VNNI";
    WriteMixedGguf(SmallLlama(), folder_ / "model.gguf");
    std::string why_not;
    packed_ = LoadPackedWeights(folder_ / "model.gguf", why_not);
    ASSERT_NE(packed_, nullptr) << why_not;
    decoder_.emplace(LoadModelWeights(folder_ / "model.gguf", torch::kFloat));
    layout_.emplace(decoder_->config(), config_);
    tokenizer_.emplace(decoder_->config().vocab);
  }
  LoraWeights Lora(uint64_t seed) const {
    return LoraWeights(*layout_, MakeRandomAdapter(decoder_->config(), config_, seed), torch::kFloat, torch::kCPU);
  }

  const AdapterConfig config_{.rank = 4, .alpha = 64};
  TempDir folder_;
  std::unique_ptr<PackedWeights> packed_;
  std::optional<Decoder> decoder_;
  std::optional<AdapterLayout> layout_;
  std::optional<LetterTokenizer> tokenizer_;
};

// Adapters made for single requests die when these end, and the next may lie where the last one lay.
TEST_F(PackedGenerator, AnAdapterInThePlaceOfADeadOneIsReadAnew) {
  const auto generator = [&] { return Generator(*decoder_, *tokenizer_, {}, {}, packed_.get()); };

  std::optional<LoraWeights> place;
  const auto tokens = [&](Generator& with) {
    GenerateRequest request{RandomTokens(6, decoder_->config().vocab, 3), {{&*place, 1.0}}, {}};
    request.sampling.max_new_tokens = 12;
    return with.Run({request})[0].tokens;
  };
  Generator kept = generator();
  std::vector<std::vector<int32_t>> texts;
  for (uint64_t seed : {21, 22, 23}) {
    place.emplace(*layout_, MakeRandomAdapter(decoder_->config(), config_, seed), torch::kFloat, torch::kCPU);
    Generator fresh = generator();
    texts.push_back(tokens(fresh));
    EXPECT_EQ(tokens(kept), texts.back()) << seed;
  }
  EXPECT_NE(texts[0], texts[1]);  // or the test would see nothing
}

// A prompt of which the cache knows all but the last token needs no pass of its own: a step of decoding reads that one, beside
// whoever else decodes.
TEST_F(PackedGenerator, AKnownPromptJoinsAStepOfDecoding) {
  const LoraWeights one = Lora(21), two = Lora(22);
  const auto request = [&](uint64_t seed) {
    GenerateRequest r{RandomTokens(12, decoder_->config().vocab, seed), {{&one, 0.4}, {&two, 0.9}}, {}};
    r.sampling.max_new_tokens = 10;
    return r;
  };
  PrefixCache prefixes(*decoder_, 1 << 24);
  DecodeBatch batch(*decoder_, *tokenizer_, {}, {}, packed_.get(), &prefixes);
  std::map<uint64_t, Completion> ended;
  const auto on_end = [&](uint64_t id, Completion&& c) { ended[id] = std::move(c); };
  batch.Join(0, request(3));
  while (!batch.empty()) batch.Step({}, on_end);
  batch.Join(1, request(4));
  for (int i = 0; i < 3; ++i) batch.Step({}, on_end);
  batch.Join(2, request(3));
  int64_t steps = 0;
  for (; !ended.contains(2); ++steps) batch.Step({}, on_end);
  EXPECT_EQ(steps, 10);
  EXPECT_EQ(ended[2].reused_tokens, 11);
  EXPECT_EQ(ended[2].tokens, ended[0].tokens);
  EXPECT_EQ(ended[1].tokens, Generator(*decoder_, *tokenizer_, {}, {}, packed_.get()).Run({request(4)})[0].tokens);
  EXPECT_NE(ended[1].tokens, ended[0].tokens);
}

}  // namespace
}  // namespace elrea
