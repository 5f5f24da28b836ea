// The two halves of a low-rank update of one row, y += scale B (A x), as plain loops. T: dtype of A, and B's
// transpose.
#pragma once

#include <cstring>

#include "model/simd.h"

namespace elrea {

// h[j] = a[j] . x for `rows` rows of a [rows, in], four at a time to hide the latency of the sums. in % 16 ==
// 0.
template <typename X, typename T>
void RowDots(const X* x, const T* a, int64_t rows, int64_t in, float* h) {
  using namespace simd;
  int64_t j = 0;
  for (; j + 4 <= rows; j += 4) {
    Vec d[4] = {};
    for (int64_t i = 0; i < in; i += kLanes) {
      Vec v = Load(x + i);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) d[r] += v * Load(a + (j + r) * in + i);
    }
    const Quad sums = Sum4(d[0], d[1], d[2], d[3]);
    std::memcpy(h + j, &sums, sizeof sums);
  }
  for (; j < rows; ++j) {
    Vec d = Splat(0);
    for (int64_t i = 0; i < in; i += kLanes) d += Load(x + i) * Load(a + j * in + i);
    h[j] = Sum(d);
  }
}

// As AddOuter for `Columns` vectors side by side.
template <int Columns, typename T, typename Y>
void AddOuterColumns(const float* h, const T* b_t, int64_t stride, int64_t rank, float scale, Y* y) {
  using namespace simd;
  Vec totals[Columns] = {};
  for (int64_t j = 0; j < rank; ++j) {
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) totals[c] += h[j] * Load(b_t + j * stride + c * kLanes);
  }
#pragma GCC unroll 4
  for (int c = 0; c < Columns; ++c) Store(y + c * kLanes, Load(y + c * kLanes) + totals[c] * scale);
}

// y[i] += scale * sum_j h[j] b_t[j * stride + i] for i < n, n % 16 == 0.
template <typename T, typename Y>
void AddOuter(const float* h, const T* b_t, int64_t stride, int64_t rank, int64_t n, float scale, Y* y) {
  using simd::kLanes;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) AddOuterColumns<4>(h, b_t + i, stride, rank, scale, y + i);
  for (; i < n; i += kLanes) AddOuterColumns<1>(h, b_t + i, stride, rank, scale, y + i);
}

}  // namespace elrea
