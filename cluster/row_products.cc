// Register tile: 8 left rows x 32 panel rows. Distances are taken about the mean row, which keeps them
// accurate when rows share a large common part (gradient features: mean cosine 0.8).
#include "cluster/row_products.h"

#include <algorithm>
#include <cstring>

#include "cluster/vector_math.h"

namespace elrea {
namespace {

using Lanes = float __attribute__((vector_size(64)));
using UnalignedLanes = float __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;
constexpr int64_t kColumns = 2 * kLanes;  // panel rows per register tile
constexpr int64_t kLeftRows = 8;
constexpr int64_t kDepth = 256;      // elements summed in float
constexpr int64_t kDirectDim = 512;  // below it pairs are computed one by one, in double
constexpr double kCancellation =
    1e-3;  // d^2 below this part of |a|^2 + |b|^2 is computed from the difference

// Vectors go by reference: passing them by value has a different ABI where the target lacks such registers.
const UnalignedLanes& At(const float* p) { return *reinterpret_cast<const UnalignedLanes*>(p); }

// out[lane] += lanes[lane].
void AddTo(double* out, const Lanes& lanes) {
  float copy[kLanes];
  std::memcpy(copy, &lanes, sizeof copy);
#pragma omp simd
  for (int64_t lane = 0; lane < kLanes; ++lane) out[lane] += copy[lane];
}

// out[i][*] += sum_d left[i * kDepth + d] * panel[d * kColumns + *] over `count` elements d.
template <int kRows>
void MultiplyTile(const float* left, const float* panel, int64_t count, double* out, int64_t out_stride) {
  Lanes low[kRows] = {}, high[kRows] = {};  // in registers: 2 * kRows + 3 of them
  for (int64_t d = 0; d < count; ++d) {
    const Lanes panel_low = At(panel + d * kColumns), panel_high = At(panel + d * kColumns + kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Lanes a = left[i * kDepth + d] - Lanes{};
      low[i] += a * panel_low;
      high[i] += a * panel_high;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    AddTo(out + i * out_stride, low[i]);
    AddTo(out + i * out_stride + kLanes, high[i]);
  }
}

void MultiplyTile(int64_t num_rows, const float* left, const float* panel, int64_t count, double* out,
                  int64_t stride) {
  switch (num_rows) {
    case 8:
      return MultiplyTile<8>(left, panel, count, out, stride);
    case 7:
      return MultiplyTile<7>(left, panel, count, out, stride);
    case 6:
      return MultiplyTile<6>(left, panel, count, out, stride);
    case 5:
      return MultiplyTile<5>(left, panel, count, out, stride);
    case 4:
      return MultiplyTile<4>(left, panel, count, out, stride);
    case 3:
      return MultiplyTile<3>(left, panel, count, out, stride);
    case 2:
      return MultiplyTile<2>(left, panel, count, out, stride);
    default:
      return MultiplyTile<1>(left, panel, count, out, stride);
  }
}

}  // namespace

RowPanel::RowPanel(RowMatrix rows, const float* shift)
    : rows_(rows.rows),
      dim_(rows.dim),
      packed_((rows.rows + kColumns - 1) / kColumns * kColumns * rows.dim, 0.0f) {
  for (int64_t i = 0; i < rows_; ++i) {
    const float* row = rows.row(i).data();
    float* packed = packed_.data() + i / kColumns * kColumns * dim_ + i % kColumns;
    for (int64_t d = 0; d < dim_; ++d) packed[d * kColumns] = row[d] - shift[d];
  }
}

void RowPanel::Products(RowMatrix left, const float* shift, double* out) const {
  const int64_t padded = (rows_ + kColumns - 1) / kColumns * kColumns;
  std::vector<double> sums(left.rows * padded, 0.0);
  std::vector<float> block(left.rows * kDepth);
  for (int64_t begin = 0; begin < dim_; begin += kDepth) {
    const int64_t count = std::min(kDepth, dim_ - begin);
    for (int64_t i = 0; i < left.rows; ++i) {
      const float* row = left.row(i).data() + begin;
      float* shifted = block.data() + i * kDepth;
#pragma omp simd
      for (int64_t d = 0; d < count; ++d) shifted[d] = row[d] - shift[begin + d];
    }
    for (int64_t j = 0; j < padded; j += kColumns) {
      const float* panel = packed_.data() + j * dim_ + begin * kColumns;
      for (int64_t i = 0; i < left.rows; i += kLeftRows) {
        MultiplyTile(std::min(kLeftRows, left.rows - i), block.data() + i * kDepth, panel, count,
                     sums.data() + i * padded + j, padded);
      }
    }
  }
  for (int64_t i = 0; i < left.rows; ++i) std::copy_n(sums.data() + i * padded, rows_, out + i * rows_);
}

std::vector<float> MeanRow(RowMatrix rows) {
  std::vector<float> mean(rows.dim);
  constexpr int64_t kWidth = 512;
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < rows.dim; begin += kWidth) {
    const int64_t count = std::min(kWidth, rows.dim - begin);
    double sums[kWidth] = {};
    for (int64_t i = 0; i < rows.rows; ++i) {
      const float* row = rows.data + i * rows.dim + begin;
#pragma omp simd
      for (int64_t d = 0; d < count; ++d) sums[d] += row[d];
    }
    for (int64_t d = 0; d < count; ++d) mean[begin + d] = static_cast<float>(sums[d] / rows.rows);
  }
  return mean;
}

namespace {

std::vector<double> DirectDistances(RowMatrix rows) {
  std::vector<double> distances(rows.rows * (rows.rows - 1) / 2);
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t i = 1; i < rows.rows; ++i) {
    double* out = distances.data() + i * (i - 1) / 2;
    for (int64_t j = 0; j < i; ++j)
      out[j] = SquaredDistance(rows.row(i).data(), rows.row(j).data(), rows.dim);
  }
  return distances;
}

std::vector<double> ShiftedSquaredNorms(RowMatrix rows, const std::vector<float>& shift) {
  std::vector<double> norms(rows.rows);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows.rows; ++i) {
    norms[i] = SquaredDistance(rows.row(i).data(), shift.data(), rows.dim);
  }
  return norms;
}

}  // namespace

// |a - b|^2 = |a|^2 + |b|^2 - 2 a . b, panel by panel of the lower triangle.
std::vector<double> PairwiseSquaredDistances(RowMatrix rows) {
  if (rows.dim < kDirectDim) return DirectDistances(rows);
  const std::vector<float> mean = MeanRow(rows);
  const std::vector<double> norms = ShiftedSquaredNorms(rows, mean);
  std::vector<double> distances(rows.rows * (rows.rows - 1) / 2);
  constexpr int64_t kLeft = 128;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t begin = 0; begin < rows.rows; begin += RowPanel::kMaxRows) {
    const int64_t width = std::min(RowPanel::kMaxRows, rows.rows - begin);
    const RowPanel panel(rows.Slice(begin, width), mean.data());
    std::vector<double> products(kLeft * width);
    for (int64_t top = begin; top < rows.rows; top += kLeft) {
      const int64_t height = std::min(kLeft, rows.rows - top);
      panel.Products(rows.Slice(top, height), mean.data(), products.data());
      for (int64_t i = top; i < top + height; ++i) {
        for (int64_t j = begin; j < std::min(begin + width, i); ++j) {
          const double sum = norms[i] + norms[j];
          double squared = sum - 2 * products[(i - top) * width + (j - begin)];
          if (squared < kCancellation * sum) {
            squared = SquaredDistance(rows.row(i).data(), rows.row(j).data(), rows.dim);
          }
          distances[i * (i - 1) / 2 + j] = squared;
        }
      }
    }
  }
  return distances;
}

}  // namespace elrea
