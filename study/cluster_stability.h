// How much a clustering depends on the rows it was made from.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/cluster_features.h"
#include "eval/statistics.h"

namespace elrea {

// Adjusted Rand index of two labellings of the same rows (Hubert and Arabie 1985): 1 for equal partitions, 0
// in the mean for random ones. 1 when both have one and the same trivial partition. REQUIRES: equal sizes,
// labels >= 0.
double AdjustedRandIndex(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

// [rows] cluster of each row.
std::vector<int64_t> RowLabels(const Clustering& clustering);

struct Stability {
  std::vector<double> indices;  // per bootstrap
  double mean = 0;
  Interval range;  // smallest and largest
};

// Clusters `bootstraps` resamples of the rows (with replacement, seeded), gives every row the nearest of the
// centroids found, and compares with the clustering of all rows by the adjusted Rand index.
Stability MeasureStability(const ClusterOptions& options, RowMatrix features, const Clustering& clustering,
                           int64_t bootstraps, uint64_t seed);

}  // namespace elrea
