#include "ensemble/disagreement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace elrea {
namespace {

double Of(const std::vector<std::vector<float>>& members, const std::vector<double>& weights) {
  const std::vector<std::span<const float>> views(members.begin(), members.end());
  return MutualInformation(views, weights);
}

TEST(DisagreementTest, MembersThatAgreeHaveNone) {
  const std::vector<float> logits = {1, -2, 0.5f, 3};
  EXPECT_NEAR(Of({logits, logits, logits}, {1, 2, 3}), 0, 1e-12);
  EXPECT_EQ(Of({logits}, {1}), 0);
  // A constant added to all logits changes no distribution.
  EXPECT_NEAR(Of({logits, {101, 98, 100.5f, 103}}, {1, 1}), 0, 1e-6);
}

TEST(DisagreementTest, CertainMembersThatContradictEachOtherGiveTheEntropyOfTheWeights) {
  const double expected = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75));
  EXPECT_NEAR(Of({{200, 0, 0}, {0, 200, 0}}, {0.5, 1.5}), expected, 1e-9);
}

TEST(DisagreementTest, EqualsTheFormula) {
  const std::vector<std::vector<float>> members = {{0, 1, 2}, {3, -1, 0.5f}};
  const std::vector<double> w = {0.3, 0.7};
  std::vector<double> mixture(3);
  double expected = 0;
  for (int k = 0; k < 2; ++k) {
    double sum = 0;
    for (float x : members[k]) sum += std::exp(x);
    for (int v = 0; v < 3; ++v) {
      const double p = std::exp(members[k][v]) / sum;
      mixture[v] += w[k] * p;
      expected += w[k] * p * std::log(p);
    }
  }
  for (double p : mixture) expected -= p * std::log(p);
  EXPECT_NEAR(Of(members, w), expected, 1e-6);
}

}  // namespace
}  // namespace elrea
