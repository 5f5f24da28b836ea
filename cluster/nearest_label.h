// Label of the nearest center for many rows: the last step of BIRCH and its hot path (20,000 rows against
// 5,000 subclusters of 8,192 values are 1.6e12 operations).
#pragma once

#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

// labels[i] = center_labels[argmin_c |row_i - center_c|]; of equally near centers the first counts.
// REQUIRES: at least one center, equal dimensions, finite values.
std::vector<int64_t> NearestLabels(RowMatrix centers, const std::vector<int64_t>& center_labels,
                                   RowMatrix rows);

// The plain twin: all distances by one matrix product.
std::vector<int64_t> NearestLabelsExact(RowMatrix centers, const std::vector<int64_t>& center_labels,
                                        RowMatrix rows);

}  // namespace elrea
