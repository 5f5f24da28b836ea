#include "ensemble/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace elrea {
namespace {

// Three centroids along the axes; a feature's cosines are then its coordinates.
class RouterTest : public testing::Test {
 protected:
  RouterTest() : clusters_{{x_, 0.5, 0.1}, {y_, 0.4, 0.2}, {z_, 0.1, 0.05}} {}
  std::vector<float> x_ = {1, 0, 0, 0}, y_ = {0, 1, 0, 0}, z_ = {0, 0, 1, 0}, feature_ = {0.6f, 0.3f, 0.2f, 0.714f};
  std::vector<RoutingCluster> clusters_;
  RoutingOptions all_{.min_weight = 0};
};

TEST_F(RouterTest, WeightsFollowTheFormula) {
  Routing r = Route(feature_, clusters_, all_);
  double mean = (0.6 + 0.3 + 0.2) / 3, deviation = 0;
  for (double c : {0.6, 0.3, 0.2}) deviation += (c - mean) * (c - mean) / 3;
  deviation = std::sqrt(deviation);
  double total = 0;
  std::vector<double> expected;
  for (double c : {0.6, 0.3, 0.2}) total += expected.emplace_back(std::exp((c - mean) / deviation / all_.temperature));
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(r.weights[c], expected[c] / total, 1e-6);
  EXPECT_NEAR(r.base_weight, 1 - 0.6, 1e-6);
  EXPECT_NEAR(r.cosines[1], 0.3, 1e-6);
}

TEST_F(RouterTest, PerClusterStandardisationUsesTheTrainingRows) {
  all_.standardise = "per_cluster";
  Routing r = Route(feature_, clusters_, all_);
  std::vector<double> z = {(0.6 - 0.5) / 0.1, (0.3 - 0.4) / 0.2, (0.2 - 0.1) / 0.05};
  double total = 0;
  for (double& value : z) total += value = std::exp(value / all_.temperature);
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(r.weights[c], z[c] / total, 1e-5);
}

TEST_F(RouterTest, LowTemperatureIsSharper) {
  Routing warm = Route(feature_, clusters_, all_);
  all_.temperature = 0.1;
  Routing cold = Route(feature_, clusters_, all_);
  EXPECT_GT(cold.weights[0], warm.weights[0]);
  EXPECT_GT(cold.weights[0], 0.99);
}

TEST_F(RouterTest, TopKKeepsTheSumAndThresholdsDropMembers) {
  all_.top_k = 2;
  Routing r = Route(feature_, clusters_, all_);
  EXPECT_EQ(r.weights[2], 0);
  EXPECT_NEAR(r.weights[0] + r.weights[1], 1, 1e-12);
  all_.top_k = 0;
  all_.min_weight = 0.3;
  Routing dropped = Route(feature_, clusters_, all_);
  EXPECT_GT(dropped.weights[0], 0);
  EXPECT_EQ(dropped.weights[1], 0);
  EXPECT_EQ(dropped.weights[2], 0);
  all_.min_weight = 0.999;  // which nobody reaches
  const Routing alone = Route(feature_, clusters_, all_);
  EXPECT_EQ(alone.base_weight, 0);
  EXPECT_EQ(alone.weights, (std::vector<double>{dropped.weights[0], 0, 0}));
}

TEST_F(RouterTest, OneClusterOrEqualCosinesShowNoPreference) {
  Routing one = Route(feature_, std::span(clusters_).first(1), all_);
  EXPECT_EQ(one.weights[0], 1);
  std::vector<float> even = {0.5f, 0.5f, 0.5f, 0.5f};
  for (double w : Route(even, clusters_, all_).weights) EXPECT_NEAR(w, 1.0 / 3, 1e-12);
}

TEST_F(RouterTest, UniformAndWithoutBase) {
  all_.uniform = true;
  all_.use_base = false;
  Routing r = Route(feature_, clusters_, all_);
  for (double w : r.weights) EXPECT_NEAR(w, 1.0 / 3, 1e-12);
  EXPECT_EQ(r.base_weight, 0);
}

TEST_F(RouterTest, WrongLengthAndNonFiniteFeaturesAreRefused) {
  std::vector<float> shorter = {1, 0}, bad = feature_;
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(Route(shorter, clusters_, all_), Error);
  EXPECT_THROW(Route(bad, clusters_, all_), Error);
  EXPECT_THROW(Route(feature_, {}, all_), Error);
}

}  // namespace
}  // namespace elrea
