#include "model/gptq.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "core/error.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr double kDamping = 0.01;     // of the mean diagonal, added to it
constexpr int64_t kColumns = 128;     // rounded before the others hear of it
constexpr int64_t kRows = 64;         // rounded by a thread at a time: their columns stay in the first cache

// The upper Cholesky factor of the inverse. Damping grows until there is one.
Tensor InverseFactor(const Tensor& moments) {
  const Tensor diagonal = moments.diagonal();
  const double mean = diagonal.mean().item<double>();
  if (!std::isfinite(mean)) throw Error(ErrorKind::kCorrupt, "the model's activations are not finite; its weights are damaged");
  const double scale = mean > 0 ? mean : 1;  // no input at all: every rounding is as good
  for (double damping = kDamping;; damping *= 10) {
    Tensor damped = moments.clone();
    damped.diagonal().add_(damping * scale);
    const auto [factor, info] = at::linalg_cholesky_ex(damped);
    if (info.item<int32_t>() != 0) continue;
    return at::linalg_cholesky(at::cholesky_inverse(factor), /*upper=*/true).contiguous();
  }
}

// All matrices with the columns of weights as rows.
struct Rounding {
  float *weights, *errors;  // [in, out], [kColumns, out]
  const float *scales, *factor;  // [in, out], [in, in]
  uint8_t* codes;                // [in, out]
  std::array<float, 16> map;
  std::array<float, 15> bounds;  // between neighbours of the map
  int64_t in, out;
};

// Codes and errors of outputs [begin, end) in column `j`, the `of`-th of those that are rounded together.
void RoundColumn(const Rounding& r, int64_t j, int64_t of, int64_t begin, int64_t end) {
  const float *weight = r.weights + j * r.out, *scale = r.scales + j * r.out;
  float* error = r.errors + of * r.out;
  uint8_t* codes = r.codes + j * r.out;
  const float inverse = 1 / r.factor[j * r.in + j];
#pragma omp simd
  for (int64_t o = begin; o < end; ++o) {
    const float x = scale[o] != 0 ? weight[o] / scale[o] : 0;
    int32_t code = 0;
#pragma GCC unroll 15
    for (size_t b = 0; b < 15; ++b) code += x > r.bounds[b] ? 1 : 0;
    codes[o] = static_cast<uint8_t>(code);
    error[o] = (weight[o] - r.map[static_cast<size_t>(code)] * scale[o]) * inverse;
  }
}

// Columns [first, last) of outputs [begin, end), the errors moved as far as `last`.
void RoundColumns(const Rounding& r, int64_t first, int64_t last, int64_t begin, int64_t end) {
  for (int64_t j = first; j < last; ++j) {
    RoundColumn(r, j, j - first, begin, end);
    const float* error = r.errors + (j - first) * r.out;
    for (int64_t later = j + 1; later < last; ++later) {
      const float share = r.factor[j * r.in + later];
      float* weight = r.weights + later * r.out;
#pragma omp simd
      for (int64_t o = begin; o < end; ++o) weight[o] -= share * error[o];
    }
  }
}

}  // namespace

Tensor GptqCodes(const Tensor& values, const Tensor& scales, const Tensor& moments, const std::array<float, 16>& map) {
  const int64_t out = values.size(0), in = values.size(1);
  const Tensor order = moments.diagonal().argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const Tensor factor = InverseFactor(moments.index_select(0, order).index_select(1, order));
  Tensor weights = values.t().index_select(0, order).contiguous();
  const Tensor ordered_scales = scales.t().index_select(0, order).contiguous();
  Tensor codes = torch::empty({in, out}, torch::kByte), errors = torch::empty({kColumns, out});
  Rounding r{weights.data_ptr<float>(), errors.data_ptr<float>(), ordered_scales.data_ptr<float>(), factor.data_ptr<float>(),
             codes.data_ptr<uint8_t>(), map, {}, in, out};
  for (size_t b = 0; b < r.bounds.size(); ++b) r.bounds[b] = (map[b] + map[b + 1]) / 2;
  for (int64_t first = 0; first < in; first += kColumns) {
    const int64_t last = std::min(in, first + kColumns);
    at::parallel_for(0, (out + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t rows = begin; rows < end; ++rows)
        RoundColumns(r, first, last, rows * kRows, std::min(out, (rows + 1) * kRows));
    });
    if (last == in) break;
    const Tensor shares = factor.slice(0, first, last).slice(1, last).t();
    weights.slice(0, last).sub_(at::mm(shares, errors.slice(0, 0, last - first)));
  }
  return codes.index_select(0, order.argsort()).t().contiguous();
}

}  // namespace elrea
