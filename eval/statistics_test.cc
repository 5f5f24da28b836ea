#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"

namespace elrea {
namespace {

// Reference values: scipy.stats.binomtest(k, n).proportion_ci(method="wilson").
TEST(WilsonInterval, EqualsReferenceValues) {
  EXPECT_NEAR(WilsonInterval(50, 100).low, 0.40383153, 1e-8);
  EXPECT_NEAR(WilsonInterval(50, 100).high, 0.59616847, 1e-8);
  EXPECT_NEAR(WilsonInterval(3, 400).low, 0.00255389, 1e-8);
  EXPECT_NEAR(WilsonInterval(3, 400).high, 0.02181572, 1e-8);
}

TEST(WilsonInterval, StaysInsideZeroAndOne) {
  EXPECT_EQ(WilsonInterval(0, 7).low, 0.0);
  EXPECT_GT(WilsonInterval(0, 7).high, 0.3);
  EXPECT_EQ(WilsonInterval(7, 7).high, 1.0);
  EXPECT_EQ(WilsonInterval(0, 0).low, 0.0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1.0);
}

TEST(BootstrapMean, CoversLikeTheNormalApproximation) {
  std::vector<double> values;
  Rng rng(7);
  for (int i = 0; i < 400; ++i) values.push_back(rng.Uniform() < 0.3 ? 1.0 : 0.0);
  double p = 0;
  for (double v : values) p += v / 400;
  const Estimate e = BootstrapMean({values}, 10000, 1);
  const double half = 1.96 * std::sqrt(p * (1 - p) / 400);
  EXPECT_NEAR(e.mean, p, 1e-12);
  EXPECT_NEAR(e.interval.low, p - half, 0.006);
  EXPECT_NEAR(e.interval.high, p + half, 0.006);
}

TEST(BootstrapMean, GroupsWeighTheSame) {
  const Estimate e = BootstrapMean({{1, 1, 1, 1, 1, 1}, {0}}, 100, 1);
  EXPECT_DOUBLE_EQ(e.mean, 0.5);
  EXPECT_DOUBLE_EQ(e.interval.low, 0.5);  // nothing varies inside the groups
  EXPECT_DOUBLE_EQ(e.interval.high, 0.5);
}

TEST(BootstrapMean, IsAFunctionOfTheSeed) {
  const std::vector<std::vector<double>> groups = {{1, 0, 0, -1, 1}, {0, 1, 1}};
  const Estimate a = BootstrapMean(groups, 500, 3), b = BootstrapMean(groups, 500, 3);
  EXPECT_EQ(a.interval.low, b.interval.low);
  EXPECT_EQ(a.interval.high, b.interval.high);
  EXPECT_EQ(BootstrapMean(groups, 0, 3).interval.low, a.mean);
}

TEST(BootstrapRatio, IsTheRatioOfSumsWithTheSpreadOfItsRows) {
  std::vector<double> changes, references;
  Rng rng(5);
  for (int i = 0; i < 400; ++i) {
    references.push_back(0.5 + rng.Uniform());
    changes.push_back(-0.1 * references.back() + 0.2 * (rng.Uniform() - 0.5));
  }
  double change = 0, reference = 0, spread = 0;
  for (size_t i = 0; i < 400; ++i) change += changes[i], reference += references[i];
  const double ratio = change / reference;
  for (size_t i = 0; i < 400; ++i) spread += std::pow(changes[i] - ratio * references[i], 2);
  const double half = 1.96 * std::sqrt(spread) / reference;  // the delta method's
  const Estimate e = BootstrapRatio(changes, references, 5000, 1);
  EXPECT_NEAR(e.mean, ratio, 1e-12);
  EXPECT_NEAR(e.interval.low, ratio - half, 0.1 * half);
  EXPECT_NEAR(e.interval.high, ratio + half, 0.1 * half);
}

// Where the reference has one row right, a third of the draws miss it.
TEST(BootstrapRatio, DrawsWithoutAReferenceAreLeftOut) {
  const Estimate e = BootstrapRatio({0, 1, 1}, {1, 0, 0}, 500, 1);
  EXPECT_DOUBLE_EQ(e.mean, 2);
  EXPECT_GE(e.interval.low, 0);
  EXPECT_TRUE(std::isfinite(e.interval.high));
  EXPECT_EQ(BootstrapRatio({1, 0}, {1, 1}, 0, 1).interval.low, 0.5);
}

// Of 2^4 sign patterns of equal differences, two are as far from zero as what was seen.
TEST(PermutationPValue, IsTheShareOfExchangesAsFarFromZero) {
  EXPECT_NEAR(PermutationPValue({{1, 1, 1, 1}}, 20000, 3), 2.0 / 16, 0.01);
  EXPECT_EQ(PermutationPValue({{0, 0, 0}}, 500, 3), 1.0);
  EXPECT_NEAR(PermutationPValue({{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, 999, 3), 0.001, 1e-12);
}

// Exact enumeration over the signs is the twin.
TEST(PermutationPValue, AgreesWithAllExchanges) {
  const std::vector<std::vector<double>> groups = {{0.5, -0.2, 0.9, 0.1}, {0.3, -0.6}};
  const auto mean = [&](int signs) {
    double total = 0;
    int bit = 0;
    for (const auto& group : groups) {
      double sum = 0;
      for (double d : group) sum += (signs >> bit++) & 1 ? d : -d;
      total += sum / static_cast<double>(group.size()) / 2;
    }
    return total;
  };
  int as_far = 0;
  for (int signs = 0; signs < 64; ++signs) as_far += std::abs(mean(signs)) >= std::abs(mean(63)) - 1e-12;
  EXPECT_NEAR(PermutationPValue(groups, 40000, 9), as_far / 64.0, 0.01);
}

}  // namespace
}  // namespace elrea
