// Products with frozen weight matrices: y = x W^T and its backward grad_x = grad_y W. Many rows go to the library's
// GEMM; a few rows (decoding) stream the weights once through our own loop, bound by memory rather than dispatch.
#pragma once

#include <torch/types.h>

namespace elrea {

// Rows up to which the streaming loop is used (it beats the library's GEMM below about this many).
constexpr int64_t kFewRows = 16;

// x [rows, in] T, weight [out, in] T -> [rows, out] T. With at most kFewRows rows on the CPU, a row's result does not
// depend on the other rows, bit for bit.
torch::Tensor FrozenLinear(const torch::Tensor& x, const torch::Tensor& weight);

// grad_y [rows, out] T -> [rows, in] T.
torch::Tensor FrozenLinearBackward(const torch::Tensor& grad_y, const torch::Tensor& weight);

// The streaming loop with f32 results: y [rows, out] f32. REQUIRES: CanStreamRows.
void StreamRows(const torch::Tensor& x, const torch::Tensor& weight, torch::Tensor& y);
bool CanStreamRows(const torch::Tensor& x, const torch::Tensor& weight);

}  // namespace elrea
