// Rows of activations in integer codes, for products with packed weights (packed_matrix.h).
//
// A row is a sum of planes; a plane has one signed byte an element and one scale per block of 32 elements.
//   own row      x ~ scale * (256 hi + lo), two planes. Error at most max|x| / 65024 of its block, about that
//                of 15 bits of mantissa for the largest element.
//   difference   x ~ x_ref + scale * code, one plane, where row `ref` is an own one. The rows of a request
//                read the same text under adapters that differ little, so what the byte rounds is small:
//                error at most max|x - x_ref| / 254 of its block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace elrea {

constexpr int64_t kActivationBlock = 32;

// One block of one plane. A cache line of its own: different threads write different rows.
struct alignas(64) QuantizedBlock {
  int8_t codes[32];
  float scale;
  float scaled_sum;      // scale * sum of codes: what a minimum is multiplied with
  int32_t half_sums[2];  // sums of codes over elements 0..15 and 16..31
};

// Sized by Resize, then written block by block; blocks may be written by different threads.
class QuantizedRows {
 public:
  // in % kActivationBlock == 0. references [rows]: the row that a row is written as a difference to; itself
  // for an own row. REQUIRES: references are own rows.
  void Resize(int64_t in, std::span<const int64_t> references);
  // Own rows only.
  void Resize(int64_t in, int64_t rows);

  // Blocks [begin, end) of own row `row`, of which x [in] f32 are the elements.
  void SetBlocks(int64_t row, int64_t begin, int64_t end, const float* x);
  // The same for a difference; `reference` [in] f32 is what its row was set to.
  void SetDifferences(int64_t row, int64_t begin, int64_t end, const float* x, const float* reference);

  int64_t rows() const { return static_cast<int64_t>(references_.size()); }
  int64_t num_blocks() const { return num_blocks_; }
  int64_t num_planes() const { return num_planes_; }
  bool is_own(int64_t row) const { return references_[static_cast<size_t>(row)] == row; }
  bool has_differences() const { return num_planes_ < 2 * rows(); }
  int64_t reference(int64_t row) const { return references_[static_cast<size_t>(row)]; }
  // The first plane of a row; an own row's second one follows it.
  int64_t plane(int64_t row) const { return planes_[static_cast<size_t>(row)]; }
  // Block `block` of planes `plane`, `plane` + 1, ...: side by side, as the product's inner loop takes them.
  const QuantizedBlock* blocks(int64_t block, int64_t plane) const {
    return &blocks_[static_cast<size_t>(block * num_planes_ + plane)];
  }

 private:
  QuantizedBlock& at(int64_t block, int64_t plane) {
    return blocks_[static_cast<size_t>(block * num_planes_ + plane)];
  }

  int64_t num_blocks_ = 0, num_planes_ = 0;
  std::vector<int64_t> references_, planes_;  // [rows]
  std::vector<QuantizedBlock> blocks_;        // [blocks, planes]
};

}  // namespace elrea
