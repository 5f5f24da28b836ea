// BIRCH clustering (Zhang, Ramakrishnan, Livny 1996), the spine of this folder: rows -> CF tree -> Ward
// clustering of the tree's leaf entries -> label of the nearest leaf centroid. With a fixed threshold it
// gives the labels of scikit-learn's Birch(threshold, branching_factor, n_clusters); with threshold 0 it
// finds the threshold itself, as the paper does: the tree starts at 0 and is rebuilt with a larger one
// whenever it outgrows max_leaves.
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

struct BirchOptions {
  int64_t num_clusters = 5;
  double threshold = 0;
  int64_t branching_factor = 50;
  int64_t max_leaves = 1000;
};
class OptionVisitor;
void VisitOptions(BirchOptions& options, OptionVisitor& visitor);

struct BirchModel {
  int64_t dim = 0;
  double threshold = 0;                // the one the tree ended with
  std::vector<float> centers;          // [subclusters, dim]: centroids of the leaf entries, in leaf order
  std::vector<int64_t> center_sizes;   // rows per subcluster
  std::vector<int64_t> center_labels;  // 0 .. num_clusters - 1
  int64_t num_clusters =
      0;  // fewer than asked when there are fewer subclusters: then each is its own cluster

  RowMatrix center_rows() const { return {centers.data(), static_cast<int64_t>(center_labels.size()), dim}; }
};

// Deterministic: the same model for any number of threads. The order of the rows matters, as always with
// BIRCH. Errors: kInvalidInput for no rows, fewer rows than clusters, or a row with NaN, infinite or
// overflowing values (named by its index).
BirchModel FitBirch(const BirchOptions& options, RowMatrix rows);

// The label of the nearest subcluster, per row. Errors: as above, and for rows of another dimension.
std::vector<int64_t> PredictBirch(const BirchModel& model, RowMatrix rows);

}  // namespace elrea
