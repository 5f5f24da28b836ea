#include "cluster/ward.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "cluster/row_products.h"
#include "cluster/testing.h"
#include "cluster/vector_math.h"

namespace elrea {
namespace {

// The naive twin: always merge the pair whose union adds least to the within-cluster sum of squares.
std::vector<int64_t> GreedyWard(RowMatrix rows, int64_t num_clusters) {
  std::vector<std::vector<int64_t>> clusters;
  for (int64_t i = 0; i < rows.rows; ++i) clusters.push_back({i});
  const auto centroid = [&](const std::vector<int64_t>& members) {
    std::vector<float> mean(rows.dim, 0);
    for (int64_t i : members) {
      for (int64_t d = 0; d < rows.dim; ++d) mean[d] += rows.row(i)[d] / static_cast<float>(members.size());
    }
    return mean;
  };
  while (static_cast<int64_t>(clusters.size()) > num_clusters) {
    double smallest = std::numeric_limits<double>::infinity();
    size_t first = 0, second = 0;
    for (size_t a = 0; a < clusters.size(); ++a) {
      for (size_t b = a + 1; b < clusters.size(); ++b) {
        const double na = static_cast<double>(clusters[a].size()),
                     nb = static_cast<double>(clusters[b].size());
        const double cost =
            na * nb / (na + nb) *
            SquaredDistance(centroid(clusters[a]).data(), centroid(clusters[b]).data(), rows.dim);
        if (cost < smallest) {
          smallest = cost;
          first = a;
          second = b;
        }
      }
    }
    clusters[first].insert(clusters[first].end(), clusters[second].begin(), clusters[second].end());
    clusters.erase(clusters.begin() + static_cast<int64_t>(second));
  }
  std::vector<int64_t> labels(rows.rows);
  for (size_t k = 0; k < clusters.size(); ++k) {
    for (int64_t i : clusters[k]) labels[i] = static_cast<int64_t>(k);
  }
  return labels;
}

TEST(WardTest, EqualsTheGreedyMerge) {
  for (int64_t dim : {3, 100}) {
    const TestRows rows = UnitMixture(60, dim, 7, 0.6, static_cast<uint64_t>(dim));
    const std::vector<WardMerge> merges = WardTree(rows.view());
    for (int64_t num_clusters : {1, 2, 5, 20, 60}) {
      EXPECT_TRUE(SamePartition(CutTree(merges, num_clusters), GreedyWard(rows.view(), num_clusters)))
          << "dim " << dim << " clusters " << num_clusters;
    }
  }
}

TEST(WardTest, MergesAreInOrderOfDistanceAndNumbered) {
  // Pairs at distance 1 and 2, the pairs 10 apart. Ward: d^2 = 2 * 2 * 2 / 4 * 10^2 (roughly) for the last.
  const TestRows rows{{0, 1, 10, 12}, 1};
  const std::vector<WardMerge> merges = WardTree(rows.view());
  ASSERT_EQ(merges.size(), 3u);
  EXPECT_EQ(merges[0].first, 0);
  EXPECT_EQ(merges[0].second, 1);
  EXPECT_DOUBLE_EQ(merges[0].distance, 1);
  EXPECT_DOUBLE_EQ(merges[1].distance, 2);
  EXPECT_EQ(merges[2].first, 4);
  EXPECT_EQ(merges[2].second, 5);
  EXPECT_NEAR(merges[2].distance, std::sqrt(2.0) * 10.5, 1e-12);
}

TEST(WardTest, OneRow) {
  const TestRows rows{{1, 2}, 2};
  EXPECT_EQ(CutTree(WardTree(rows.view()), 1), std::vector<int64_t>{0});
}

TEST(RowProductsTest, DistancesEqualDirectDifferences) {
  for (int64_t dim : {5, 300, 513, 1111}) {
    for (int64_t count : {2, 33, 300}) {
      TestRows rows = UnitMixture(count, dim, 4, 0.3, 9);
      for (float& value : rows.values) value += 0.5f;  // a common part that centring removes
      std::copy_n(rows.values.begin(), dim, rows.values.begin() + dim);  // a duplicate: distance exactly 0
      const std::vector<double> distances = PairwiseSquaredDistances(rows.view());
      EXPECT_EQ(distances[0], 0);
      for (int64_t i = 1; i < count; ++i) {
        for (int64_t j = 0; j < i; ++j) {
          const double direct = SquaredDistance(rows.view().row(i).data(), rows.view().row(j).data(), dim);
          ASSERT_NEAR(distances[i * (i - 1) / 2 + j], direct, dim < 512 ? 1e-14 : 1e-6)
              << dim << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(VectorMathTest, DotMatchesLongDouble) {
  const TestRows rows = UnitMixture(2, 1003, 2, 1.0, 8);
  for (int64_t dim : {1, 7, 8, 31, 33, 64, 1003}) {
    long double expected = 0;
    for (int64_t d = 0; d < dim; ++d)
      expected += static_cast<long double>(rows.values[d]) * rows.values[1003 + d];
    EXPECT_NEAR(Dot(rows.values.data(), rows.values.data() + 1003, dim), static_cast<double>(expected),
                dim < 256 ? 1e-15 : 1e-8);
  }
}

}  // namespace
}  // namespace elrea
