// Agglomerative clustering with Ward's criterion by nearest-neighbour chains: the global step of BIRCH, and
// exact (not an approximation of the greedy order). The same merges and label numbers as scikit-learn's
// AgglomerativeClustering, which calls SciPy's linkage.
//
// The distance of two clusters is the growth of the within-cluster sum of squares by their union, as
//   d^2(A, B) = 2 |A| |B| / (|A| + |B|) |c_A - c_B|^2,
// updated after a merge by the Lance-Williams formula. Time O(n^2 dim) for the first distances, which are one
// blocked matrix product, and O(n^2) after; memory 4 n^2 bytes (n (n - 1) / 2 doubles).
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

// One merge: the two clusters (a row index, or rows + the number of an earlier merge) and their distance.
struct WardMerge {
  int64_t first = 0;  // the smaller of the two
  int64_t second = 0;
  double distance = 0;
};

// The rows - 1 merges in order of distance. REQUIRES: rows >= 1, finite.
std::vector<WardMerge> WardTree(RowMatrix rows);

// Labels [rows] in 0 .. num_clusters - 1 after undoing the last num_clusters - 1 merges.
// REQUIRES: 1 <= num_clusters <= number of rows.
std::vector<int64_t> CutTree(const std::vector<WardMerge>& merges, int64_t num_clusters);

}  // namespace elrea
