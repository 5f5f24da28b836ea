#include "model/padded_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>

#include "model/amx.h"

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

// Whether the library would leave such a product to one thread: with the matrix unit it takes this many rows for one task where
// sums are long and columns few. Measured, see docs/performance.md.
bool LibraryUsesOneThread(int64_t rows, int64_t depth, int64_t columns) {
  return amx::Usable() && columns <= 1024 && (depth >= 2048 ? rows >= 384 : depth >= 1024 && rows >= 640) && rows < 1280;
}

// out = x w; each thread a share of the rows where the library would not share them out.
void Multiply(const Tensor& x, const Tensor& w, Tensor out) {
  if (!LibraryUsesOneThread(x.size(0), x.size(1), w.size(1))) {
    at::mm_out(out, x, w);
    return;
  }
  constexpr int64_t kShare = 16;  // rows
  at::parallel_for(0, x.size(0) / kShare, 1, [&](int64_t begin, int64_t end) {
    Tensor rows = out.narrow(0, begin * kShare, (end - begin) * kShare);
    at::mm_out(rows, x.narrow(0, begin * kShare, (end - begin) * kShare), w);
  });
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
    Multiply(WithRowsBehind(x, padded), w, out.narrow(0, 0, padded));
  } else {
    at::mm_out(rows, x, w);
  }
  return rows;
}

}  // namespace elrea
