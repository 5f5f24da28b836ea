// Rows of activations as 16-bit integers, for products with packed weights (packed_matrix.h).
//
// A block of 32 elements has one scale: x ~ scale * q, q = 256 hi + lo in [-32512, 32512], hi and lo signed
// bytes. The error is at most max|x| / 65024 of its block, about that of 15 bits of mantissa for the largest
// element.
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

constexpr int64_t kActivationBlock = 32;

// One block of one row. Two cache lines of its own: different threads write different rows.
struct alignas(64) QuantizedBlock {
  int8_t hi[32], lo[32];
  float scale;
  float scaled_sum;      // scale * sum of q: what a minimum is multiplied with
  int32_t half_sums[2];  // sums of q over elements 0..15 and 16..31
};

// Sized by Resize, then written block by block; blocks may be written by different threads.
class QuantizedRows {
 public:
  // in % kActivationBlock == 0.
  void Resize(int64_t rows, int64_t in);

  // x [kActivationBlock] f32: elements block * 32 .. of row `row`.
  void SetBlock(int64_t row, int64_t block, const float* x);

  int64_t rows() const { return rows_; }
  int64_t num_blocks() const { return num_blocks_; }
  // Block `block` of rows `row`, `row` + 1, ...: side by side, as the product's inner loop takes them.
  const QuantizedBlock* blocks(int64_t block, int64_t row) const { return &blocks_[block * rows_ + row]; }

 private:
  int64_t rows_ = 0, num_blocks_ = 0;
  std::vector<QuantizedBlock> blocks_;  // [blocks, rows]
};

}  // namespace elrea
