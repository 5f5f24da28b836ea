#include "model/padded_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

namespace elrea {

using torch::Tensor;

namespace {

bool CompilesForShapes(const torch::TensorOptions& options) {
  return options.device().is_cpu() && c10::typeMetaToScalarType(options.dtype()) == torch::kBFloat16;
}

// The rows of x and as many behind them as make `rows`: where they lie if its storage goes on, else a copy.
Tensor WithRowsBehind(const Tensor& x, int64_t rows) {
  const auto elements = static_cast<int64_t>(x.storage().nbytes() / x.element_size());
  const bool in_place = x.stride(1) == 1 && x.storage_offset() + (rows - 1) * x.stride(0) + x.size(1) <= elements;
  if (in_place) return x.as_strided({rows, x.size(1)}, x.strides());
  Tensor copy = torch::empty({rows, x.size(1)}, x.options());
  copy.narrow(0, 0, x.size(0)).copy_(x);
  return copy;
}

constexpr int64_t kSmallestStep = 16;

int64_t StepAt(int64_t rows) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(rows, 1))));
  return std::max(kSmallestStep, power / 32);
}

}  // namespace

int64_t PaddedRows(int64_t rows) {
  const int64_t step = StepAt(rows);
  return (rows + step - 1) / step * step;
}

int64_t WholeRows(int64_t rows) { return rows < kSmallestStep ? rows : rows - rows % StepAt(rows); }

Tensor EmptyRows(int64_t rows, int64_t width, const torch::TensorOptions& options) {
  if (!CompilesForShapes(options)) return torch::empty({rows, width}, options);
  return torch::empty({PaddedRows(rows), width}, options).narrow(0, 0, rows);
}

Tensor MultiplyRows(const Tensor& x, const Tensor& w) {
  if (!CompilesForShapes(x.options())) return at::mm(x, w);
  Tensor out = torch::empty({PaddedRows(x.size(0)), w.size(1)}, x.options());
  return MultiplyRowsInto(x, w, out);
}

Tensor MultiplyRowsInto(const Tensor& x, const Tensor& w, Tensor& out) {
  Tensor rows = out.narrow(0, 0, x.size(0));
  if (CompilesForShapes(x.options())) {
    const int64_t padded = PaddedRows(x.size(0));
    Tensor all = out.narrow(0, 0, padded);
    at::mm_out(all, WithRowsBehind(x, padded), w);
  } else {
    at::mm_out(rows, x, w);
  }
  return rows;
}

}  // namespace elrea
