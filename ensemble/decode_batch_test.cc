// Requests that join and leave while others run, the prefix cache, and what is measured of each token, against requests
// that run alone.
#include "ensemble/decode_batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ensemble/generate.h"
#include "ensemble/testing.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

class DecodeBatchTest : public testing::TestWithParam<ModelConfig (*)()> {
 protected:
  DecodeBatchTest()
      : decoder_(MakeTinyModel(GetParam()(), 7)), layout_(decoder_.config(), config_), tokenizer_(decoder_.config().vocab) {
    for (uint64_t seed : {21, 22}) {
      loras_.push_back(std::make_unique<LoraWeights>(layout_, MakeRandomAdapter(decoder_.config(), config_, seed),
                                                     torch::kFloat, torch::kCPU));
    }
  }
  GenerateRequest Request(uint64_t seed, int64_t length, int64_t new_tokens) const {
    GenerateRequest r{RandomTokens(length, decoder_.config().vocab, seed),
                      {{loras_[0].get(), 0.3}, {loras_[1].get(), 0.9}, {nullptr, 0.2}},
                      {}};
    r.sampling.max_new_tokens = new_tokens;
    return r;
  }
  std::vector<int32_t> Alone(const GenerateRequest& r) {
    return Generator(decoder_, tokenizer_, {}).Run({r})[0].tokens;
  }
  // Runs until all have ended; completions by id.
  std::map<uint64_t, Completion> Finish(DecodeBatch& batch) {
    std::map<uint64_t, Completion> ended;
    while (!batch.empty()) {
      batch.Step({}, [&](uint64_t id, Completion&& c) { ended[id] = std::move(c); });
    }
    return ended;
  }

  AdapterConfig config_{.rank = 4, .alpha = 8};
  Decoder decoder_;
  AdapterLayout layout_;
  LetterTokenizer tokenizer_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
};

TEST_P(DecodeBatchTest, RequestsJoinAndLeaveBetweenSteps) {
  DecodeBatch batch(decoder_, tokenizer_, {});
  std::map<uint64_t, Completion> ended;
  const auto on_end = [&](uint64_t id, Completion&& c) { ended[id] = std::move(c); };
  const GenerateRequest a = Request(1, 5, 12), b = Request(2, 9, 6), c = Request(3, 4, 30);
  batch.Join(10, a);
  for (int i = 0; i < 3; ++i) batch.Step({}, on_end);
  batch.Join(11, b);
  batch.Join(12, c);
  for (int i = 0; i < 4; ++i) batch.Step({}, on_end);
  EXPECT_EQ(batch.num_rows(), 9);
  EXPECT_TRUE(batch.Cancel(12, on_end));
  EXPECT_FALSE(batch.Cancel(12, on_end));
  EXPECT_EQ(batch.num_rows(), 6);
  EXPECT_EQ(ended[12].reason, FinishReason::kCancelled);
  EXPECT_EQ(ended[12].tokens.size(), 4u);
  ended.merge(Finish(batch));
  EXPECT_EQ(ended[10].tokens, Alone(a));
  EXPECT_EQ(ended[11].tokens, Alone(b));
}

TEST_P(DecodeBatchTest, ASharedPrefixIsNotReadAgain) {
  PrefixCache prefixes(decoder_, 1 << 24);
  DecodeBatch batch(decoder_, tokenizer_, {}, {}, nullptr, &prefixes);
  GenerateRequest first = Request(4, 12, 6);
  batch.Join(0, first);
  const Completion answer = Finish(batch)[0];
  EXPECT_EQ(answer.reused_tokens, 0);
  // The next turn: the text so far, and more. The last token of an answer was never read.
  GenerateRequest next = first;
  next.prompt.insert(next.prompt.end(), answer.tokens.begin(), answer.tokens.end());
  next.prompt.insert(next.prompt.end(), {3, 5, 7});
  batch.Join(1, next);
  batch.Join(2, first);  // the same prompt again: all but its last token is known
  auto ended = Finish(batch);
  EXPECT_EQ(ended[1].reused_tokens, 17);
  EXPECT_EQ(ended[1].tokens, Alone(next));
  EXPECT_EQ(ended[2].reused_tokens, 11);
  EXPECT_EQ(ended[2].tokens, answer.tokens);
  // Another adapter has read nothing yet.
  next.members = {{loras_[0].get(), 1}};
  prefixes.Forget(loras_[0].get());
  batch.Join(3, next);
  EXPECT_EQ(Finish(batch)[3].reused_tokens, 0);
}

TEST_P(DecodeBatchTest, ThePrefixCacheKeepsItsLimit) {
  const int64_t text = KvCache::NumBytes(decoder_.config(), decoder_.dtype(), 14);
  PrefixCache prefixes(decoder_, 3 * text + text / 2);
  DecodeBatch batch(decoder_, tokenizer_, {}, {}, nullptr, &prefixes);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    batch.Join(seed, Request(seed + 30, 12, 3));
    Finish(batch);
    EXPECT_LE(prefixes.bytes(), 3 * text + text / 2);
  }
  EXPECT_EQ(prefixes.num_texts(), 3);
  prefixes.ShrinkTo(0);
  EXPECT_EQ(prefixes.bytes(), 0);
}

TEST_P(DecodeBatchTest, MeasuringDisagreementChangesNoToken) {
  GenerateRequest r = Request(5, 7, 10);
  r.measure_disagreement = true;
  r.num_alternatives = 3;
  DecodeBatch batch(decoder_, tokenizer_, {});
  batch.Join(0, r);
  batch.Join(1, Request(6, 4, 10));
  std::vector<DecodedToken> decoded;
  std::vector<int32_t> tokens;
  while (!batch.empty()) {
    batch.Step(
        [&](uint64_t id, const DecodedToken* token, const std::string&) {
          if (id == 0) decoded.push_back(*token);
          return true;
        },
        [&](uint64_t id, Completion&& c) {
          if (id == 0) tokens = c.tokens;
        });
  }
  EXPECT_EQ(tokens, Alone(Request(5, 7, 10)));
  ASSERT_EQ(decoded.size(), 10u);
  // Against full forward passes of each member.
  std::vector<int32_t> text = r.prompt;
  for (const DecodedToken& token : decoded) {
    torch::Tensor mixture = torch::zeros({decoder_.config().vocab}, torch::kDouble);
    double mean_entropy = 0;
    for (const MixtureMember& m : r.members) {
      LoraMix mix({m.adapter});
      const torch::Tensor residual = decoder_.Forward(PackRows({text}), &mix);
      const torch::Tensor logits = decoder_.Logits(residual.narrow(0, residual.size(0) - 1, 1))[0];
      const torch::Tensor p = torch::softmax(logits.to(torch::kDouble), 0);
      mixture += m.weight / 1.4 * p;
      mean_entropy -= m.weight / 1.4 * (p * p.log()).sum().item<double>();
    }
    EXPECT_NEAR(token.disagreement, -(mixture * mixture.log()).sum().item<double>() - mean_entropy, 1e-4);
    EXPECT_EQ(token.alternatives.size(), 3u);
    EXPECT_EQ(token.alternatives[0].token, token.token);
    text.push_back(token.token);
  }
}

TEST_P(DecodeBatchTest, IsolatedRequestsAreEqualBitForBitWhateverRunsBeside) {
  const GenerateLimits isolated{.isolate = true};
  const GenerateRequest r = Request(7, 9, 8);
  DecodeBatch alone(decoder_, tokenizer_, {}, isolated), busy(decoder_, tokenizer_, {}, isolated);
  alone.Join(0, r);
  for (uint64_t other = 1; other < 6; ++other) busy.Join(other, Request(other + 50, 3 + static_cast<int64_t>(other), 12));
  busy.Step({}, {});
  busy.Join(0, r);
  const Completion a = Finish(alone)[0], b = Finish(busy)[0];
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.log_probs, b.log_probs);
}

INSTANTIATE_TEST_SUITE_P(Families, DecodeBatchTest, testing::Values(TinyLlamaConfig, TinyGemma3Config));

}  // namespace
}  // namespace elrea
