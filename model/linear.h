// Products with frozen weight matrices: y = x W^T and its backward grad_x = grad_y W. Many rows go to the library's
// GEMM; a few rows (decoding) stream the weights once through our own loop, bound by memory rather than dispatch.
#pragma once

#include <torch/types.h>

#include <vector>

#include "model/matrix_codes.h"

namespace elrea {

// Some rows of a frozen matrix: a tensor [rows, in], or codes.
struct MatrixPart {
  torch::Tensor dense;
  CodedRows coded = {};

  int64_t rows() const { return coded ? coded.rows : dense.size(0); }
  int64_t cols() const { return coded ? coded.codes->cols() : dense.size(1); }
  torch::Device device() const { return coded ? coded.codes->device() : dense.device(); }
};

// A frozen matrix [out, in] of the compute dtype: a tensor, or parts one below the other of which some are in codes.
// Those are dequantised for each product. Const-shareable.
class FrozenMatrix {
 public:
  FrozenMatrix() = default;
  // Parts that are all tensors become one; their parts are no longer needed then.
  explicit FrozenMatrix(std::vector<MatrixPart> parts);

  int64_t out() const { return out_; }
  bool is_dense() const { return parts_.empty(); }
  const torch::Tensor& dense() const { return dense_; }  // REQUIRES: is_dense
  const std::vector<MatrixPart>& parts() const { return parts_; }
  // All of it as a tensor in `dtype`: made for the caller where it is in codes.
  torch::Tensor Dense(torch::Dtype dtype) const;

 private:
  int64_t out_ = 0;
  torch::Tensor dense_;
  std::vector<MatrixPart> parts_;  // empty: dense_
};

// Rows up to which the streaming loop is used (it beats the library's GEMM below about this many).
constexpr int64_t kFewRows = 16;

// x [rows, in] T, weight [out, in] T -> [rows, out] T. With at most kFewRows rows on the CPU, a row's result does not
// depend on the other rows, bit for bit.
torch::Tensor FrozenLinear(const torch::Tensor& x, const torch::Tensor& weight);
torch::Tensor FrozenLinear(const torch::Tensor& x, const FrozenMatrix& weight);

// grad_y [rows, out] T -> [rows, in] T.
torch::Tensor FrozenLinearBackward(const torch::Tensor& grad_y, const FrozenMatrix& weight);

// The streaming loop with f32 results: y [rows, out] f32. REQUIRES: CanStreamRows.
void StreamRows(const torch::Tensor& x, const torch::Tensor& weight, torch::Tensor& y);
bool CanStreamRows(const torch::Tensor& x, const torch::Tensor& weight);

}  // namespace elrea
