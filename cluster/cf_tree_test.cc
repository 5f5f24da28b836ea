#include "cluster/cf_tree.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cluster/testing.h"

namespace elrea {
namespace {

CfTree Build(const TestRows& rows, double threshold, int64_t branching_factor) {
  CfTree tree(rows.dim, threshold, branching_factor);
  for (int64_t i = 0; i < rows.view().rows; ++i) tree.Insert(rows.view().row(i));
  return tree;
}

// The CF of a union is the sum of the CFs: sizes and size-weighted centroids add up to those of all rows.
void ExpectSumsMatch(CfTree& tree, const TestRows& rows) {
  const std::vector<int64_t> sizes = tree.LeafSizes();
  const std::vector<float> centroids = tree.TakeCentroids();
  ASSERT_EQ(centroids.size(), sizes.size() * rows.dim);
  int64_t total = 0;
  for (int64_t size : sizes) total += size;
  EXPECT_EQ(total, rows.view().rows);
  for (int64_t d = 0; d < rows.dim; ++d) {
    double from_tree = 0, from_rows = 0;
    for (size_t i = 0; i < sizes.size(); ++i)
      from_tree += static_cast<double>(sizes[i]) * centroids[i * rows.dim + d];
    for (int64_t i = 0; i < total; ++i) from_rows += rows.view().row(i)[d];
    EXPECT_NEAR(from_tree, from_rows, 1e-4 * total) << "column " << d;
  }
}

TEST(CfTreeTest, LeafEntriesSumToTheRows) {
  const TestRows rows = UnitMixture(900, 7, 12, 0.4, 1);
  CfTree tree = Build(rows, 0.2, 5);
  EXPECT_GT(tree.num_nodes(), 10);
  ExpectSumsMatch(tree, rows);
}

TEST(CfTreeTest, ThresholdZeroMergesEqualRowsOnly) {
  TestRows rows{{0, 0, 1, 0, 0, 0, 1, 0, 3, 3}, 2};
  CfTree tree = Build(rows, 0, 50);
  EXPECT_EQ(tree.LeafSizes(), (std::vector<int64_t>{2, 2, 1}));
}

TEST(CfTreeTest, MergesExactlyUpToTheThreshold) {
  // Two points at distance 2 have radius 1 about their mean.
  const TestRows rows{{0, 0, 2, 0}, 2};
  EXPECT_EQ(Build(rows, 1.0, 50).num_leaf_entries(), 1);
  EXPECT_EQ(Build(rows, 0.999, 50).num_leaf_entries(), 2);
}

TEST(CfTreeTest, NoNodeOutgrowsTheBranchingFactor) {
  const TestRows rows = UnitMixture(500, 3, 500, 0.0, 2);
  CfTree tree = Build(rows, 0, 3);
  EXPECT_EQ(tree.num_leaf_entries(), 500);
  EXPECT_GE(tree.num_nodes(), 500 / 3);
  ExpectSumsMatch(tree, rows);
}

TEST(CfTreeTest, RebuildingKeepsSumsAndShrinks) {
  const TestRows rows = UnitMixture(900, 7, 12, 0.4, 1);
  CfTree tree = Build(rows, 0.1, 8);
  const int64_t before = tree.num_leaf_entries();
  const double grown = tree.GrownThreshold(1e-4);
  EXPECT_GT(grown, 0.1);
  CfTree coarser(rows.dim, grown, 8);
  coarser.InsertEntriesOf(std::move(tree));
  EXPECT_LT(coarser.num_leaf_entries(), before * 9 / 10);
  ExpectSumsMatch(coarser, rows);
}

TEST(CfTreeTest, GrownThresholdLeavesZeroEvenForEqualRows) {
  const TestRows rows{std::vector<float>(30, 0.1f), 3};
  EXPECT_GT(Build(rows, 0, 4).GrownThreshold(1e-4), 0);
}

}  // namespace
}  // namespace elrea
