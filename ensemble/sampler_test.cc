#include "ensemble/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace elrea {
namespace {

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -5.0f};

std::vector<double> Softmax(double temperature) {
  double total = 0;
  std::vector<double> p;
  for (float x : kLogits) total += p.emplace_back(std::exp(x / temperature));
  for (double& x : p) x /= total;
  return p;
}

std::map<int32_t, double> Frequencies(const SamplingOptions& options, int draws) {
  std::map<int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[SampleToken(kLogits, options, 3, static_cast<uint64_t>(i)).token] += 1.0 / draws;
  return counts;
}

TEST(SamplerTest, GreedyTakesTheLowestIdOfTheBest) {
  SampledToken t = SampleToken(kLogits, {}, 0, 0);
  EXPECT_EQ(t.token, 1);
  EXPECT_NEAR(t.log_prob, std::log(Softmax(1)[1]), 1e-6);
}

TEST(SamplerTest, FrequenciesFollowTheTemperedSoftmax) {
  for (double temperature : {0.7, 1.0, 2.0}) {
    auto seen = Frequencies({.temperature = temperature}, 20000);
    std::vector<double> expected = Softmax(temperature);
    for (int32_t t = 0; t < 5; ++t) EXPECT_NEAR(seen[t], expected[t], 0.015) << "token " << t << " at " << temperature;
  }
}

TEST(SamplerTest, TopKAndTopPCutTheTail) {
  auto top2 = Frequencies({.temperature = 1, .top_k = 2}, 2000);
  EXPECT_EQ(top2.size(), 2u);
  EXPECT_NEAR(top2[1], 0.5, 0.05);
  // 0.38 + 0.38 reach 0.7, so the third token never comes.
  auto nucleus = Frequencies({.temperature = 1, .top_p = 0.7}, 2000);
  EXPECT_EQ(nucleus.size(), 2u);
  EXPECT_EQ(Frequencies({.temperature = 1, .top_p = 0.0}, 100).size(), 1u);  // the best always stays
}

TEST(SamplerTest, MinPKeepsWhatIsNearlyAsLikely) {
  // Relative to the likeliest: 1, 1, e^-1, e^-2, e^-8.
  EXPECT_EQ(Frequencies({.temperature = 1, .min_p = 0.5}, 2000).size(), 2u);
  EXPECT_EQ(Frequencies({.temperature = 1, .min_p = 0.2}, 2000).size(), 3u);
  EXPECT_EQ(Frequencies({.temperature = 1, .min_p = 1}, 2000).size(), 2u);  // equals of the best stay
}

TEST(SamplerTest, BiasAndPenaltiesMoveTheChoiceButNotTheLogProbability) {
  const std::vector<std::pair<int32_t, float>> bias = {{4, 100.0f}};
  const SampledToken biased = SampleToken(kLogits, {}, 0, 0, TokenBias({}, bias));
  EXPECT_EQ(biased.token, 4);
  EXPECT_NEAR(biased.log_prob, std::log(Softmax(1)[4]), 1e-5);
  // Token 1 leads token 3 by being first, until it was generated; then each time costs it more.
  const SamplingOptions presence{.presence_penalty = 0.5}, frequency{.frequency_penalty = 0.4};
  TokenBias once(presence, {}), often(frequency, {});
  once.Count(1);
  EXPECT_EQ(SampleToken(kLogits, presence, 0, 0, once).token, 3);
  once.Count(3);
  once.Count(3);  // present is present
  EXPECT_EQ(SampleToken(kLogits, presence, 0, 0, once).token, 1);
  for (int i = 0; i < 2; ++i) often.Count(1);
  often.Count(3);
  EXPECT_EQ(SampleToken(kLogits, frequency, 0, 0, often).token, 3);
  for (int i = 0; i < 2; ++i) often.Count(3);
  EXPECT_EQ(SampleToken(kLogits, frequency, 0, 0, often).token, 1);
  for (int i = 0; i < 2; ++i) often.Count(1);
  EXPECT_EQ(SampleToken(kLogits, frequency, 0, 0, often).token, 2);
}

TEST(SamplerTest, LikeliestTokensAreInOrderWithTheirLogProbabilities) {
  const std::vector<SampledToken> top = LikeliestTokens(kLogits, 4);
  ASSERT_EQ(top.size(), 4u);
  const std::vector<int32_t> expected = {1, 3, 2, 0};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(top[i].token, expected[i]);
    EXPECT_NEAR(top[i].log_prob, std::log(Softmax(1)[static_cast<size_t>(expected[i])]), 1e-5);
  }
  EXPECT_EQ(LikeliestTokens(kLogits, 99).size(), kLogits.size());
}

// The order is made in batches, and a wide vocabulary needs several.
TEST(SamplerTest, AWideVocabularyIsDrawnByItsProbabilities) {
  std::vector<float> logits(1500);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i)) * 2;
  double total = 0, heavy = 0;
  for (const float x : logits) {
    total += std::exp(x);
    if (x < 1) heavy += std::exp(x);
  }
  int seen = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const int32_t token = SampleToken(logits, {.temperature = 1}, 5, static_cast<uint64_t>(i)).token;
    seen += logits[static_cast<size_t>(token)] < 1;
  }
  EXPECT_NEAR(static_cast<double>(seen) / kDraws, heavy / total, 0.03);
}

TEST(SamplerTest, DrawsDependOnSeedStreamAndStepOnly) {
  SamplingOptions options{.temperature = 1, .seed = 8};
  EXPECT_EQ(SampleToken(kLogits, options, 1, 2).token, SampleToken(kLogits, options, 1, 2).token);
  auto path = [&](int64_t seed, uint64_t stream) {
    std::vector<int32_t> tokens;
    for (uint64_t step = 0; step < 40; ++step) {
      tokens.push_back(SampleToken(kLogits, {.temperature = 1, .seed = seed}, stream, step).token);
    }
    return tokens;
  };
  EXPECT_EQ(path(8, 1), path(8, 1));
  EXPECT_NE(path(8, 1), path(9, 1));
  EXPECT_NE(path(8, 1), path(8, 2));
}

}  // namespace
}  // namespace elrea
