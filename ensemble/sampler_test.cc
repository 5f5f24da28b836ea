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
