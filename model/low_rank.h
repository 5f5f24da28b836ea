// The two halves of a low-rank update of a few rows under one adapter, y += scale B (A x), as plain loops: what is read of
// A and B, and widened, serves up to four rows. A row's numbers do not depend on the rows beside it, bit for bit. T: dtype
// of A, and B's transpose.
#pragma once

#include <algorithm>
#include <cstring>

#include "model/simd.h"

namespace elrea {

// Rows side by side in memory, `stride` numbers apart.
template <typename V>
struct RowBlock {
  V* first;
  int64_t stride;

  V* row(int64_t r) const { return first + r * stride; }
};

namespace low_rank_detail {

// Calls body.operator()<R>(begin) for [0, rows) in pieces of R = 4, and one of the rest.
template <typename Body>
void InFours(int64_t rows, Body&& body) {
  int64_t begin = 0;
  for (; begin + 4 <= rows; begin += 4) body.template operator()<4>(begin);
  switch (rows - begin) {
    case 1: body.template operator()<1>(begin); break;
    case 2: body.template operator()<2>(begin); break;
    case 3: body.template operator()<3>(begin); break;
    default: break;
  }
}

// h[r][j] for `Rows` rows of x and four of A, whose sums hide each other's latency.
template <int Rows, typename X, typename T>
void FourDots(RowBlock<const X> x, const T* a, int64_t in, RowBlock<float> h) {
  using namespace simd;
  Vec d[Rows][4] = {};
  for (int64_t i = 0; i < in; i += kLanes) {
    Vec w[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) w[j] = Load(a + j * in + i);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const Vec v = Load(x.row(r) + i);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) d[r][j] += v * w[j];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    const Quad sums = Sum4(d[r][0], d[r][1], d[r][2], d[r][3]);
    std::memcpy(h.row(r), &sums, sizeof sums);
  }
}

// As AddOuter for `Rows` rows and `Columns` vectors side by side.
template <int Rows, int Columns, typename T, typename Y>
void AddOuterTile(RowBlock<const float> h, const T* b_t, int64_t stride, int64_t rank, float scale, RowBlock<Y> y) {
  using namespace simd;
  Vec totals[Rows][Columns] = {};
  for (int64_t j = 0; j < rank; ++j) {
    Vec b[Columns];
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) b[c] = Load(b_t + j * stride + c * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < Columns; ++c) totals[r][c] += h.row(r)[j] * b[c];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) {
      Y* out = y.row(r) + c * kLanes;
      Store(out, Load(out) + totals[r][c] * scale);
    }
  }
}

}  // namespace low_rank_detail

// h[r][j] = a[j] . x[r] for `count` rows x [in] and `rows` rows of a [rows, in]. in % 16 == 0.
template <typename X, typename T>
void RowDots(RowBlock<const X> x, int64_t count, const T* a, int64_t rows, int64_t in, RowBlock<float> h) {
  using namespace simd;
  int64_t j = 0;
  for (; j + 4 <= rows; j += 4) {
    low_rank_detail::InFours(count, [&]<int Rows>(int64_t r) {
      low_rank_detail::FourDots<Rows, X, T>({x.row(r), x.stride}, a + j * in, in, {h.row(r) + j, h.stride});
    });
  }
  for (; j < rows; ++j) {
    for (int64_t r = 0; r < count; ++r) {
      Vec d = Splat(0);
      for (int64_t i = 0; i < in; i += kLanes) d += Load(x.row(r) + i) * Load(a + j * in + i);
      h.row(r)[j] = Sum(d);
    }
  }
}

// y[r][i] += scale * sum_j h[r][j] b_t[j * stride + i] for `count` rows and i < n, n % 16 == 0.
template <typename T, typename Y>
void AddOuter(RowBlock<const float> h, int64_t count, const T* b_t, int64_t stride, int64_t rank, int64_t n, float scale,
              RowBlock<Y> y) {
  using simd::kLanes;
  const auto add = [&]<int Columns>(int64_t i) {
    low_rank_detail::InFours(count, [&]<int Rows>(int64_t r) {
      low_rank_detail::AddOuterTile<Rows, Columns, T, Y>({h.row(r), h.stride}, b_t + i, stride, rank, scale,
                                                         {y.row(r) + i, y.stride});
    });
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) add.template operator()<4>(i);
  for (; i < n; i += kLanes) add.template operator()<1>(i);
}

}  // namespace elrea
