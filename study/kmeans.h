// K-means (Lloyd) from k-means++ starts: the clustering that BIRCH is compared with.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

struct KMeansOptions {
  int64_t num_clusters = 5;
  int64_t restarts = 5;  // the one with the smallest sum of squares counts
  int64_t max_steps = 100;
  uint64_t seed = 0;
};

struct KMeansResult {
  std::vector<int64_t> labels;  // [rows]
  double sum_of_squares = 0;    // of the distances to the own center
};

// A function of its arguments only. kInvalidInput for fewer rows than clusters.
KMeansResult KMeans(const KMeansOptions& options, RowMatrix rows);

}  // namespace elrea
