// A frozen matrix in the codes of a quantised format, dequantised when it is multiplied with. What a quantised backbone
// (QLoRA's) holds in place of its dense matrices: 4 to 9 bits a weight.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>

namespace elrea {

struct PartCodes;

// [rows, cols]. Const-shareable.
class MatrixCodes {
 public:
  MatrixCodes(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}
  virtual ~MatrixCodes() = default;

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  virtual int64_t num_bytes() const = 0;
  virtual torch::Device device() const = 0;
  // The same matrix on another device, bit for bit. REQUIRES: device != device().
  virtual std::shared_ptr<const MatrixCodes> To(torch::Device device) const = 0;
  // Rows [first, first + values.size(0)) into a contiguous tensor [rows, cols] on the same device, in f32 or bf16 (rounded
  // to nearest even). A value does not depend on the range, bit for bit.
  virtual void ReadInto(int64_t first, torch::Tensor& values) const = 0;

 private:
  int64_t rows_, cols_;
};

// Codes in the memory of the CPU, read by any thread a few rows at a time.
class HostMatrixCodes : public MatrixCodes {
 public:
  using MatrixCodes::MatrixCodes;

  torch::Device device() const final { return torch::kCPU; }
  std::shared_ptr<const MatrixCodes> To(torch::Device device) const final;
  void ReadInto(int64_t first, torch::Tensor& values) const final;  // by all threads
  // values [end - begin, cols] f32. One thread; a value does not depend on the range, bit for bit.
  virtual void ReadRows(int64_t begin, int64_t end, float* values) const = 0;
  // The same matrix in the form that any device dequantises, bit for bit.
  virtual PartCodes InParts() const = 0;
};

// Some rows of coded matrices, which several may share (the q, k and v of a checkpoint that stores them as one).
struct CodedRows {
  std::shared_ptr<const MatrixCodes> codes;  // null: none
  int64_t first_row = 0, rows = 0;

  explicit operator bool() const { return codes != nullptr; }
};

// All rows; see MatrixCodes::ReadInto.
void DequantizeInto(const CodedRows& coded, torch::Tensor& values);
// One thread: rows [begin, end) of `coded` to values [end - begin, cols]; `scratch` holds as many f32 numbers.
// REQUIRES: codes on the CPU.
void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, float* values, float* scratch);
void ReadRowsAs(const CodedRows& coded, int64_t begin, int64_t end, c10::BFloat16* values, float* scratch);

}  // namespace elrea
