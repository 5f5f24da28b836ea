// t-SNE (van der Maaten and Hinton 2008), exact: a map of rows in two dimensions in which neighbours stay
// neighbours. For pictures only: distances between far points and the sizes of groups mean nothing. O(rows^2)
// per step, meant for a few thousand rows.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

struct TsneOptions {
  double perplexity =
      30;  // effective number of neighbours; lowered to (rows - 1) / 3 when there are few rows
  int64_t steps = 500;
  uint64_t seed = 0;
};

// [rows] points. A function of its arguments only. No rows: no points.
std::vector<std::array<double, 2>> Tsne(RowMatrix rows, const TsneOptions& options = {});

}  // namespace elrea
