#include "study/cluster_stability.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "core/rng.h"

namespace elrea {
namespace {

// "0011" -> {0, 0, 1, 1}.
std::vector<int64_t> Labels(const std::string& digits) {
  std::vector<int64_t> labels;
  for (char digit : digits) labels.push_back(digit - '0');
  return labels;
}

// Reference values: sklearn.metrics.adjusted_rand_score.
TEST(AdjustedRandIndex, EqualsTheReference) {
  EXPECT_DOUBLE_EQ(AdjustedRandIndex(Labels("0011"), Labels("1100")), 1.0);
  EXPECT_NEAR(AdjustedRandIndex(Labels("0012"), Labels("0011")), 0.5714285714285715, 1e-12);
  EXPECT_NEAR(AdjustedRandIndex(Labels("0011"), Labels("0101")), -0.5, 1e-12);
  EXPECT_DOUBLE_EQ(AdjustedRandIndex(Labels("000"), Labels("000")), 1.0);
}

TEST(Stability, IsOneForBlobsAndLowForNoise) {
  constexpr int64_t kRows = 90, kDim = 16;
  std::vector<float> blobs, noise;
  Rng rng(5, 0);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t d = 0; d < kDim; ++d) {
      noise.push_back(static_cast<float>(rng.Normal()));
      blobs.push_back(static_cast<float>((d == i % 3 ? 8 : 0) + 0.2 * rng.Normal()));
    }
  }
  ClusterOptions options;
  options.birch.num_clusters = 3;
  options.max_rounds = 0;
  for (const auto& [values, low, high] : {std::tuple(&blobs, 0.999, 1.001), std::tuple(&noise, -0.2, 0.6)}) {
    const RowMatrix rows{values->data(), kRows, kDim};
    const Stability stability = MeasureStability(options, rows, ClusterFeatures(options, rows, {}), 6, 1);
    EXPECT_EQ(stability.indices.size(), 6u);
    EXPECT_GT(stability.mean, low);
    EXPECT_LT(stability.mean, high);
  }
}

}  // namespace
}  // namespace elrea
