#include "study/kmeans.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/rng.h"
#include "study/cluster_stability.h"

namespace elrea {
namespace {

TEST(KMeans, FindsSeparateBlobs) {
  constexpr int64_t kRows = 120, kDim = 10;
  std::vector<float> values;
  std::vector<int64_t> truth;
  Rng rng(2, 0);
  for (int64_t i = 0; i < kRows; ++i) {
    truth.push_back(i % 4);
    for (int64_t d = 0; d < kDim; ++d)
      values.push_back(static_cast<float>((d == i % 4 ? 6 : 0) + 0.3 * rng.Normal()));
  }
  const KMeansResult result = KMeans({.num_clusters = 4}, {values.data(), kRows, kDim});
  EXPECT_DOUBLE_EQ(AdjustedRandIndex(result.labels, truth), 1.0);
  EXPECT_EQ(KMeans({.num_clusters = 4}, {values.data(), kRows, kDim}).labels, result.labels);
}

// On a line the best two clusters can be enumerated: a cut between neighbours.
TEST(KMeans, ReachesTheBestSumOfSquares) {
  const std::vector<float> values = {0, 1, 2, 10, 11, 15};
  double best = 1e300;
  for (size_t cut = 1; cut < values.size(); ++cut) {
    double sum = 0;
    for (auto [begin, end] : {std::pair(size_t{0}, cut), std::pair(cut, values.size())}) {
      double mean = 0;
      for (size_t i = begin; i < end; ++i) mean += values[i] / static_cast<double>(end - begin);
      for (size_t i = begin; i < end; ++i) sum += (values[i] - mean) * (values[i] - mean);
    }
    best = std::min(best, sum);
  }
  EXPECT_NEAR(KMeans({.num_clusters = 2}, {values.data(), 6, 1}).sum_of_squares, best, 1e-6);
}

TEST(KMeans, RefusesMoreClustersThanRows) {
  const std::vector<float> values = {0, 1};
  ExpectError(ErrorKind::kInvalidInput, {"2 rows", "3 clusters"}, [&] {
    KMeans({.num_clusters = 3}, {values.data(), 2, 1});
  });
}

}  // namespace
}  // namespace elrea
