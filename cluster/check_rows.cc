#include "cluster/check_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cluster/vector_math.h"
#include "core/error.h"

namespace elrea {

void CheckRows(RowMatrix rows, const char* who) {
  if (rows.rows < 1 || rows.dim < 1) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: no rows to work on ({} rows of {} values)", who, rows.rows, rows.dim));
  }
  constexpr double kLargest = 1e30;  // squared norm; leaves room for sums in float
  int64_t first_bad = rows.rows;
#pragma omp parallel for schedule(static) reduction(min : first_bad)
  for (int64_t i = 0; i < rows.rows; ++i) {
    const double squared_norm = Dot(rows.row(i).data(), rows.row(i).data(), rows.dim);
    if (!(squared_norm < kLargest)) first_bad = std::min(first_bad, i);
  }
  if (first_bad == rows.rows) return;
  const auto row = rows.row(first_bad);
  const auto bad = std::find_if(row.begin(), row.end(), [](float v) { return !std::isfinite(v); });
  if (bad == row.end()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: row {} has a squared norm over {:g}; scale the rows down", who, first_bad,
                            kLargest));
  }
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{}: row {} has {} at column {}; remove that row or compute its features again",
                          who, first_bad, std::isnan(*bad) ? "NaN" : "an infinity", bad - row.begin()));
}

}  // namespace elrea
