// Data for the tests of this folder.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "cluster/row_matrix.h"
#include "core/rng.h"

namespace elrea {

struct TestRows {
  std::vector<float> values;
  int64_t dim = 0;
  RowMatrix view() const { return {values.data(), static_cast<int64_t>(values.size()) / dim, dim}; }
};

// Rows of unit length around `num_directions` random directions: row i belongs to direction i %
// num_directions.
inline TestRows UnitMixture(int64_t rows, int64_t dim, int64_t num_directions, double noise, uint64_t seed) {
  std::vector<float> directions(num_directions * dim);
  Rng rng(seed);
  for (float& value : directions) value = static_cast<float>(rng.Normal());
  TestRows result{std::vector<float>(rows * dim), dim};
  for (int64_t i = 0; i < rows; ++i) {
    float* row = result.values.data() + i * dim;
    double squared_norm = 0;
    for (int64_t d = 0; d < dim; ++d) {
      row[d] = directions[i % num_directions * dim + d] + static_cast<float>(noise * rng.Normal());
      squared_norm += static_cast<double>(row[d]) * row[d];
    }
    for (int64_t d = 0; d < dim; ++d) row[d] = static_cast<float>(row[d] / std::sqrt(squared_norm));
  }
  return result;
}

// Whether two labelings split the rows alike, up to names.
inline bool SamePartition(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    std::vector<int64_t> name(from->size() + 1, -1);
    for (size_t i = 0; i < from->size(); ++i) {
      int64_t& seen = name.at((*from)[i]);
      if (seen < 0) seen = (*to)[i];
      if (seen != (*to)[i]) return false;
    }
  }
  return true;
}

}  // namespace elrea
