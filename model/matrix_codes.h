// A frozen matrix in the codes of a quantised format, dequantised row by row when it is multiplied with. What a
// quantised backbone (QLoRA's) holds in place of its dense matrices: 4 to 9 bits a weight.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>

namespace elrea {

// [rows, cols]. Const-shareable.
class MatrixCodes {
 public:
  MatrixCodes(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}
  virtual ~MatrixCodes() = default;

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  virtual int64_t num_bytes() const = 0;
  // values [end - begin, cols] f32. One thread; a value does not depend on the range, bit for bit.
  virtual void ReadRows(int64_t begin, int64_t end, float* values) const = 0;

 private:
  int64_t rows_, cols_;
};

// Some rows of coded matrices, which several may share (the q, k and v of a checkpoint that stores them as one).
struct CodedRows {
  std::shared_ptr<const MatrixCodes> codes;  // null: none
  int64_t first_row = 0, rows = 0;

  explicit operator bool() const { return codes != nullptr; }
};

// All rows into a contiguous tensor [rows, cols] in f32 or bf16 (rounded to nearest even) on the CPU, by all threads.
void DequantizeInto(const CodedRows& coded, torch::Tensor& values);
// One thread: rows [begin, end) of `coded` to values [end - begin, cols]; `scratch` holds as many f32 numbers.
void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, float* values, float* scratch);
void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, c10::BFloat16* values, float* scratch);

}  // namespace elrea
