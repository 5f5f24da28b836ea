#include "model/linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/padded_rows.h"
#include "model/simd.h"

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Store;
using simd::Vec;
using torch::Tensor;

namespace {

constexpr int kColumns = 4;    // weight rows (output columns) taken together
constexpr int kRowBlock = 6;   // input rows held against them: 24 running sums in registers

// sums[r][c] += x_r . w_c over [0, in). f32: sixteen products at a time.
template <int Rows>
void Dots(const float* x, const float* w, int64_t in, Vec (&sums)[Rows][kColumns]) {
  for (int64_t i = 0; i < in; i += kLanes) {
    Vec weight[kColumns];
    for (int c = 0; c < kColumns; ++c) weight[c] = Load(w + c * in + i);
    for (int r = 0; r < Rows; ++r) {
      Vec v = Load(x + r * in + i);
      for (int c = 0; c < kColumns; ++c) sums[r][c] += v * weight[c];
    }
  }
}

// bf16 with f32 sums: pairs of products where the processor has them.
template <int Rows>
void Dots(const c10::BFloat16* x, const c10::BFloat16* w, int64_t in, Vec (&sums)[Rows][kColumns]) {
  int64_t i = 0;
#ifdef __AVX512BF16__
  for (; i + 2 * kLanes <= in; i += 2 * kLanes) {
    __m512bh weight[kColumns];
    for (int c = 0; c < kColumns; ++c) std::memcpy(&weight[c], w + c * in + i, sizeof weight[c]);
    for (int r = 0; r < Rows; ++r) {
      __m512bh v;
      std::memcpy(&v, x + r * in + i, sizeof v);
      for (int c = 0; c < kColumns; ++c) sums[r][c] = (Vec)_mm512_dpbf16_ps((__m512)sums[r][c], v, weight[c]);
    }
  }
#endif
  for (; i < in; i += kLanes) {
    for (int r = 0; r < Rows; ++r) {
      Vec v = Load(x + r * in + i);
      for (int c = 0; c < kColumns; ++c) sums[r][c] += v * Load(w + c * in + i);
    }
  }
}

template <int Rows, typename T, typename Out>
void RowBlock(const T* x, const T* w, int64_t in, Out* y, int64_t y_stride) {
  Vec sums[Rows][kColumns] = {};
  Dots<Rows>(x, w, in, sums);
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < kColumns; ++c) y[r * y_stride + c] = static_cast<Out>(simd::Sum(sums[r][c]));
  }
}

// All rows against four weight rows, which stay in the nearest cache between row blocks.
template <typename T, typename Out>
void ColumnBlock(const T* x, int64_t rows, const T* w, int64_t in, Out* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kRowBlock <= rows; r += kRowBlock) RowBlock<kRowBlock>(x + r * in, w, in, y + r * y_stride, y_stride);
  x += r * in;
  y += r * y_stride;
  switch (rows - r) {
    case 1: return RowBlock<1>(x, w, in, y, y_stride);
    case 2: return RowBlock<2>(x, w, in, y, y_stride);
    case 3: return RowBlock<3>(x, w, in, y, y_stride);
    case 4: return RowBlock<4>(x, w, in, y, y_stride);
    case 5: return RowBlock<5>(x, w, in, y, y_stride);
    default: return;
  }
}

// y[r * stride + o] = x_r . w_o for the rows w_o of one part. `make_reader()` gives a task what returns a pointer to
// kColumns rows of weights from a row on.
template <typename T, typename Out, typename MakeReader>
void Stream(const Tensor& x, int64_t out, const MakeReader& make_reader, Out* y, int64_t stride) {
  int64_t rows = x.size(0), in = x.size(1);
  const T* data = x.data_ptr<T>();
  // A task reads at least 64 KiB of weights, so that starting it does not count.
  int64_t grain = std::max<int64_t>(1, (1 << 16) / (kColumns * in * static_cast<int64_t>(sizeof(T))));
  at::parallel_for(0, out / kColumns, grain, [&](int64_t begin, int64_t end) {
    auto read = make_reader();
    for (int64_t block = begin; block < end; ++block) {
      int64_t first = block * kColumns;
      ColumnBlock(data, rows, read(first), in, y + first, stride);
    }
  });
}

template <typename T, typename Out>
void StreamDense(const Tensor& x, const Tensor& weight, Out* y, int64_t stride) {
  const T* w = weight.data_ptr<T>();
  const int64_t in = x.size(1);
  Stream<T>(x, weight.size(0), [=] { return [=](int64_t first) { return w + first * in; }; }, y, stride);
}

template <typename T>
void StreamCodes(const Tensor& x, const CodedRows& coded, T* y, int64_t stride) {
  const auto block = static_cast<size_t>(kColumns * x.size(1));
  const auto make_reader = [&] {
    return [&coded, values = std::vector<T>(block), scratch = std::vector<float>(block)](int64_t first) mutable {
      ReadRowsAs(coded, first, first + kColumns, values.data(), scratch.data());
      return static_cast<const T*>(values.data());
    };
  };
  Stream<T>(x, coded.rows, make_reader, y, stride);
}

template <typename T>
void StreamParts(const Tensor& x, const FrozenMatrix& weight, Tensor& y) {
  T* first = y.data_ptr<T>();
  for (const MatrixPart& part : weight.parts()) {
    if (part.coded) {
      StreamCodes(x, part.coded, first, weight.out());
    } else {
      StreamDense<T>(x, part.dense, first, weight.out());
    }
    first += part.rows();
  }
}

bool FewRows(const Tensor& x) {
  return x.is_cpu() && x.size(0) <= kFewRows && x.is_contiguous() && x.size(1) % kLanes == 0;
}

bool CanStreamParts(const Tensor& x, const FrozenMatrix& weight) {
  return FewRows(x) && std::ranges::all_of(weight.parts(), [](const MatrixPart& part) {
           return part.rows() % kColumns == 0 && (part.coded || part.dense.is_contiguous());
         });
}

// Matrices that lie one after the other in memory, as gate and up of a mapped checkpoint do, are one already; else a copy.
Tensor AsOne(const std::vector<Tensor>& parts) {
  if (parts.size() == 1) return parts[0];
  int64_t rows = 0;
  bool in_a_row = true;
  const std::byte* end = nullptr;
  for (const Tensor& part : parts) {
    const auto* begin = part.is_cpu() && part.is_contiguous() ? static_cast<const std::byte*>(part.data_ptr()) : nullptr;
    in_a_row = in_a_row && begin != nullptr && (rows == 0 || begin == end) && part.scalar_type() == parts[0].scalar_type();
    if (begin != nullptr) end = begin + part.nbytes();
    rows += part.size(0);
  }
  if (!in_a_row) return torch::cat(parts);
  return torch::from_blob(parts[0].data_ptr(), {rows, parts[0].size(1)}, [parts](void*) {}, parts[0].options());
}

}  // namespace

FrozenMatrix::FrozenMatrix(std::vector<MatrixPart> parts) {
  for (const MatrixPart& part : parts) out_ += part.rows();
  if (std::ranges::any_of(parts, [](const MatrixPart& part) { return static_cast<bool>(part.coded); })) {
    parts_ = std::move(parts);
    return;
  }
  std::vector<Tensor> tensors;
  for (const MatrixPart& part : parts) tensors.push_back(part.dense);
  dense_ = AsOne(tensors);
}

Tensor FrozenMatrix::Dense(torch::Dtype dtype) const {
  if (is_dense()) return dense_.to(dtype);
  Tensor all = torch::empty({out_, parts_[0].cols()}, torch::dtype(dtype).device(parts_[0].device()));
  int64_t first = 0;
  for (const MatrixPart& part : parts_) {
    Tensor rows = all.narrow(0, first, part.rows());
    if (part.coded) {
      DequantizeInto(part.coded, rows);
    } else {
      rows.copy_(part.dense);
    }
    first += part.rows();
  }
  return all;
}

bool CanStreamRows(const Tensor& x, const Tensor& weight) {
  return FewRows(x) && weight.is_contiguous() && weight.size(0) % kColumns == 0;
}

void StreamRows(const Tensor& x, const Tensor& weight, Tensor& y) {
  if (x.scalar_type() == torch::kFloat) {
    StreamDense<float>(x, weight, y.data_ptr<float>(), y.size(1));
  } else {
    StreamDense<c10::BFloat16>(x, weight, y.data_ptr<float>(), y.size(1));
  }
}

Tensor FrozenLinear(const Tensor& x, const Tensor& weight) {
  if (!CanStreamRows(x, weight)) return MultiplyRows(x, weight.t());
  Tensor y = torch::empty({x.size(0), weight.size(0)}, x.options());
  if (x.scalar_type() == torch::kFloat) {
    StreamDense<float>(x, weight, y.data_ptr<float>(), y.size(1));
  } else {
    StreamDense<c10::BFloat16>(x, weight, y.data_ptr<c10::BFloat16>(), y.size(1));
  }
  return y;
}

Tensor FrozenLinear(const Tensor& x, const FrozenMatrix& weight) {
  if (weight.is_dense()) return FrozenLinear(x, weight.dense());
  if (!CanStreamParts(x, weight)) return MultiplyRows(x, weight.Dense(x.scalar_type()).t());
  Tensor y = torch::empty({x.size(0), weight.out()}, x.options());
  if (x.scalar_type() == torch::kFloat) {
    StreamParts<float>(x, weight, y);
  } else {
    StreamParts<c10::BFloat16>(x, weight, y);
  }
  return y;
}

Tensor FrozenLinearBackward(const Tensor& grad_y, const FrozenMatrix& weight) {
  return MultiplyRows(grad_y, weight.Dense(grad_y.scalar_type()));
}

}  // namespace elrea
