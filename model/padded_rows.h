// Products of many rows with a frozen matrix by the library, on numbers of rows that come again: for bf16 on a CPU it compiles a
// kernel for every shape that it has not seen, 2 to 35 ms each, and packed rows have another number nearly every time. Rows are
// rounded up, by less than 16 or a thirty-second; what stands in the rows behind the last one is anything, and stays there.
#pragma once

#include <torch/types.h>

namespace elrea {

// `rows` rounded up to a multiple of 16, or to one of 32 numbers between powers of two.
int64_t PaddedRows(int64_t rows);
// The largest such number that is at most `rows`; `rows` itself below the smallest.
int64_t WholeRows(int64_t rows);

// [rows, width], not set, with room behind its last row so that it can be multiplied where it lies.
torch::Tensor EmptyRows(int64_t rows, int64_t width, const torch::TensorOptions& options);

// x [rows, k] T times w [k, n] T -> [rows, n] T, with room as in EmptyRows.
torch::Tensor MultiplyRows(const torch::Tensor& x, const torch::Tensor& w);
// The same into `out`, of which at least PaddedRows(rows) rows [n] are free to be written. Returns its first `rows` rows.
torch::Tensor MultiplyRowsInto(const torch::Tensor& x, const torch::Tensor& w, torch::Tensor& out);

}  // namespace elrea
