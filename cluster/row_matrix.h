// A read-only view of rows of float: what every function of this folder takes. Owns nothing.
#pragma once

#include <cstdint>
#include <span>

namespace elrea {

// [rows, dim] f32, row-major without gaps. The data must outlive the view.
struct RowMatrix {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t dim = 0;

  std::span<const float> row(int64_t i) const { return {data + i * dim, static_cast<size_t>(dim)}; }
  // Rows [begin, begin + count).
  RowMatrix Slice(int64_t begin, int64_t count) const { return {data + begin * dim, count, dim}; }
};

}  // namespace elrea
