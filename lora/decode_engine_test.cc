// The decode engine against the decoder's own passes over the dequantised weights, in f32: same caches, same
// mixtures.
#include "model/decode_engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/temp_dir.h"
#include "lora/decode_adapter.h"
#include "lora/lora_mix.h"
#include "lora/testing.h"
#include "model/kv_cache.h"
#include "model/testing.h"
#include "model/testing_packed.h"

namespace elrea {
namespace {

using torch::Tensor;

// The smallest shapes that the engine serves.
ModelConfig SmallGemma3() {
  ModelConfig c = TinyGemma3Config();
  c.dim = 64;
  c.head_dim = 32;
  return c;
}
ModelConfig SmallUncapped() {
  ModelConfig c = SmallGemma3();
  c.final_logit_softcap = 0;
  return c;
}

ModelConfig SmallBiased() {
  ModelConfig c = SmallLlama();
  c.qkv_bias = c.o_bias = c.mlp_bias = true;
  return c;
}
ModelConfig SmallGemma2() {
  ModelConfig c = SmallGemma3();
  c.family = "gemma2";
  c.qk_norm = false;
  c.rope_theta_local = 0;
  c.attn_logit_softcap = 2;
  return c;
}
ModelConfig SmallPhi3() {
  ModelConfig c = SmallLlama();
  c.family = "phi3";
  c.fused_qkv = c.fused_gate_up = true;
  return c;
}
ModelConfig SmallSmolLM3() {
  ModelConfig c = SmallLlama();
  c.family = "smollm3";
  c.layers = 4;
  c.layer_skips_rope = {false, false, false, true};
  return c;
}

class DecodeEngineTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  void SetUp() override {
    if (!PackedMatrix::Serves(GgmlType::kQ8_0, 16, 32)) GTEST_SKIP() << "this processor lacks AVX-512 VNNI";
    WriteMixedGguf(GetParam()(), folder_ / "model.gguf");
    std::string why_not;
    packed_ = LoadPackedWeights(folder_ / "model.gguf", why_not);
    ASSERT_NE(packed_, nullptr) << why_not;
    decoder_ = std::make_unique<Decoder>(LoadModelWeights(folder_ / "model.gguf", torch::kFloat));
    ASSERT_TRUE(DecodeEngine::Serves(*decoder_));
    layout_ = std::make_unique<AdapterLayout>(decoder_->config(), AdapterConfig{.rank = 4});
    MakeAdapters(8);
  }

  void MakeAdapters(double alpha) {
    const AdapterConfig config{.rank = 4, .alpha = alpha};
    loras_.clear();
    views_.clear();
    for (uint64_t s : {21, 22}) {
      loras_.push_back(std::make_unique<LoraWeights>(
          *layout_, MakeRandomAdapter(decoder_->config(), config, s), torch::kFloat, torch::kCPU));
      views_.push_back(DecodeView(*loras_.back()));
    }
  }

  // Two requests in turns, each with its own prompt, read under adapters 0, 0, none, 1, 1, ...
  struct Rows {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<const LoraWeights*> loras;
    std::vector<DecodeRow> rows;
    Tensor weights;  // [2, rows]
  };
  Rows ReadPrompts(int64_t n) const {
    Rows r;
    r.weights = torch::zeros({2, n});
    for (int64_t i = 0; i < n; ++i) {
      const size_t which = static_cast<size_t>(i % 5 / 2);  // 0 0 none 1 1 with `which` 0, 0, 1, 1, 2
      const bool bare = i % 5 == 2;
      const size_t adapter = which == 2 || i % 5 == 3 ? 1 : 0;
      r.loras.push_back(bare ? nullptr : loras_[adapter].get());
      r.caches.push_back(std::make_unique<KvCache>(decoder_->config(), torch::kFloat, torch::kCPU, 4));
      std::vector<int32_t> prompt =
          RandomTokens(3 + 4 * (i % 2), decoder_->config().vocab, 40 + static_cast<uint64_t>(i % 2));
      PackedBatch batch = PackRows({prompt});
      batch.caches = {r.caches.back().get()};
      LoraMix mix({r.loras.back()});
      decoder_->Forward(batch, &mix);
      const float weight = 0.2f + 0.1f * static_cast<float>(i % 4);
      r.weights[i % 2][i] = weight;
      r.rows.push_back({static_cast<int32_t>(5 + i % 2), r.caches.back().get(),
                        bare ? nullptr : &views_[adapter], i % 2, weight});
    }
    return r;
  }
  Tensor Step(Rows& r) const {
    DecodeEngine engine(*decoder_, *packed_);
    Tensor logits = torch::full({2, decoder_->config().vocab}, NAN);
    engine.Step(r.rows, 2, logits.data_ptr<float>());
    return logits;
  }
  Tensor PlainStep(Rows& r) const {
    std::vector<std::span<const int32_t>> tokens;
    PackedBatch batch;
    for (const DecodeRow& row : r.rows) tokens.emplace_back(&row.token, 1);
    batch = PackRows(tokens);
    for (const DecodeRow& row : r.rows) batch.caches.push_back(row.cache);
    LoraMix mix(r.loras);
    return decoder_->MixedLogits(decoder_->Forward(batch, &mix), r.weights);
  }

  // The largest difference of a logit to the plain passes', relative to the largest logit, of each of several steps of n rows.
  std::vector<float> StepErrors(int64_t n) const {
    Rows ours = ReadPrompts(n), plain = ReadPrompts(n);
    std::vector<float> errors;
    for (int step = 0; step < 8; ++step) {
      const Tensor got = Step(ours), expected = PlainStep(plain);
      errors.push_back(((got - expected).abs().max() / expected.abs().max()).item<float>());
      for (int64_t i = 0; i < n; ++i) {
        EXPECT_EQ(ours.caches[i]->length(), plain.caches[i]->length());
        ours.rows[i].token = plain.rows[i].token =
            static_cast<int32_t>((7 * (i % 2) + 3 * step) % decoder_->config().vocab);
      }
    }
    return errors;
  }
  void ExpectEqualSteps(int64_t n, float tolerance) const {
    const std::vector<float> errors = StepErrors(n);
    for (size_t step = 0; step < errors.size(); ++step) EXPECT_LT(errors[step], tolerance) << n << " rows, step " << step;
  }

  TempDir folder_;
  std::unique_ptr<PackedWeights> packed_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<AdapterLayout> layout_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
  std::vector<LowRankAdapter> views_;
};

TEST_P(DecodeEngineTest, EqualsThePlainPassesStepAfterStep) {
  for (const int64_t n : {1, 2}) ExpectEqualSteps(n, 1e-3);
}

// Members of one request are differences to its heaviest: what the byte of a difference rounds grows with how unlike the
// adapters are, from what an own row has with adapters of the sizes that training leaves. Where exactly codes round is up to the
// last bits of the prompts' products, which are another processor's affair: single steps reach two or three times the mean.
TEST_P(DecodeEngineTest, MembersOfOneRequestEqualThePlainPasses) {
  for (const int64_t n : {5, 9, 17}) ExpectEqualSteps(n, 3e-2);
  for (const float alpha : {0.4f, 0.05f}) {
    MakeAdapters(alpha);
    const float bound = 1.5e-4f + 2e-3f * alpha;
    std::vector<float> all;
    for (const int64_t n : {5, 9, 17}) {
      const std::vector<float> errors = StepErrors(n);
      all.insert(all.end(), errors.begin(), errors.end());
    }
    EXPECT_LT(std::accumulate(all.begin(), all.end(), 0.0f) / static_cast<float>(all.size()), bound) << alpha;
    EXPECT_LT(*std::max_element(all.begin(), all.end()), 2 * bound) << alpha;
  }
}

TEST_P(DecodeEngineTest, ARowDependsOnNeitherTheOthersNorTheThreadsBitForBit) {
  Rows together = ReadPrompts(10);
  std::vector<Tensor> alone;
  for (size_t i = 0; i < 2; ++i) {  // one row of each request counts
    Rows one = ReadPrompts(10);
    one.rows = {one.rows[6 + i]};
    one.rows[0].weight = 1;
    alone.push_back(Step(one)[one.rows[0].request].clone());
  }
  // The heaviest row of a request is computed as it would be alone, and only it counts here.
  for (size_t i = 0; i < 10; ++i) together.rows[i].weight = i == 6 || i == 7 ? 1.0f : 0.0f;
  const int threads = at::get_num_threads();
  for (const int t : {1, 2, 3}) {
    Rows again = ReadPrompts(10);
    at::set_num_threads(t);
    for (size_t i = 0; i < 10; ++i) again.rows[i].weight = together.rows[i].weight;
    const Tensor logits = Step(again);
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(logits[0], alone[0])) << t << " threads";
    EXPECT_TRUE(torch::equal(logits[1], alone[1])) << t << " threads";
  }
}

TEST_P(DecodeEngineTest, ARowGivesItsOwnLogitsBesideTheMixtureAndChangesNoneOfIt) {
  Rows ours = ReadPrompts(4), without = ReadPrompts(4), plain = ReadPrompts(4);
  for (int64_t i = 0; i < 4; ++i) ours.rows[static_cast<size_t>(i)].own_request = 2 + i;
  Tensor logits = torch::full({6, decoder_->config().vocab}, NAN);
  DecodeEngine(*decoder_, *packed_).Step(ours.rows, 6, logits.data_ptr<float>());
  EXPECT_TRUE(torch::equal(logits.narrow(0, 0, 2), Step(without)));
  plain.weights = torch::eye(4);
  const Tensor expected = PlainStep(plain);
  EXPECT_LT((logits.narrow(0, 2, 4) - expected).abs().max().item<float>(),
            3e-2 * expected.abs().max().item<float>());
}

TEST_P(DecodeEngineTest, TheContextEndsInAnErrorAndCachesAreLeftAlone) {
  Rows r = ReadPrompts(2);
  r.caches[1]->Reserve(decoder_->config().context_length);
  r.caches[1]->Truncate(decoder_->config().context_length);
  const int64_t before = r.caches[0]->length();
  EXPECT_THROW(Step(r), Error);
  EXPECT_EQ(r.caches[0]->length(), before);
}

INSTANTIATE_TEST_SUITE_P(Families, DecodeEngineTest, testing::Values(SmallLlama, SmallGemma3, SmallUncapped, SmallBiased, SmallGemma2, SmallPhi3,
                                         SmallSmolLM3));

TEST(PackedWeights, SaysWhatCannotBePacked) {
  const TempDir folder;
  MakeGguf(MakeTinyModel(TinyLlamaConfig(), 1)).Write(folder / "f32.gguf");
  std::string why_not;
  EXPECT_EQ(LoadPackedWeights(folder / "f32.gguf", why_not), nullptr);
  EXPECT_NE(why_not.find("token_embd.weight"), std::string::npos) << why_not;
  EXPECT_EQ(LoadPackedWeights(folder.path(), why_not), nullptr);
  EXPECT_NE(why_not.find("not a GGUF file"), std::string::npos) << why_not;
}

}  // namespace
}  // namespace elrea
