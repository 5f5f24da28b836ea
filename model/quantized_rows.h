// Rows of activations as 16-bit integers, for products with packed weights (packed_matrix.h).
//
// A block of 32 elements has one scale: x ~ scale * q, q = 256 hi + lo in [-32512, 32512], hi and lo signed bytes. The
// error is at most max|x| / 65024 of its block, about that of 15 bits of mantissa for the largest element.
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

constexpr int64_t kActivationBlock = 32;

// Sized once by Resize, then written block by block; blocks may be written by different threads.
class QuantizedRows {
 public:
  // in % kActivationBlock == 0.
  void Resize(int64_t rows, int64_t in);

  // x [kActivationBlock] f32: elements block * 32 .. of row `row`.
  void SetBlock(int64_t row, int64_t block, const float* x);

  int64_t rows() const { return rows_; }
  int64_t num_blocks() const { return num_blocks_; }

  // The rows of one block lie side by side, as the product's inner loop takes them.
  const int8_t* codes(int64_t block, int64_t row) const { return &codes_[(block * rows_ + row) * 64]; }  // hi[32], lo[32]
  const float* scales(int64_t block, int64_t row) const { return &scales_[block * rows_ + row]; }
  // scale * sum of q: what a minimum is multiplied with.
  const float* scaled_sums(int64_t block, int64_t row) const { return &scaled_sums_[block * rows_ + row]; }
  // Sums of q over each half of the block, two per row.
  const int32_t* half_sums(int64_t block, int64_t row) const { return &half_sums_[(block * rows_ + row) * 2]; }

 private:
  int64_t rows_ = 0, num_blocks_ = 0;
  std::vector<int8_t> codes_;         // [blocks, rows, 64]
  std::vector<float> scales_;         // [blocks, rows]
  std::vector<float> scaled_sums_;    // [blocks, rows]
  std::vector<int32_t> half_sums_;    // [blocks, rows, 2]
};

}  // namespace elrea
