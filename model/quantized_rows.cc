#include "model/quantized_rows.h"

#include <cstring>

#include "model/simd.h"

namespace elrea {

using simd::Vec;
using simd::VecI;

namespace {
constexpr float kMaxCode = 127 * 256;  // leaves room for a low byte of 127
constexpr float kRounder = 12582912;   // 1.5 * 2^23: adding it rounds to an integer
constexpr float kSmallest = 1e-30f;    // below, a block is zero: its scale's inverse would overflow
}  // namespace

void QuantizedRows::Resize(int64_t rows, int64_t in) {
  rows_ = rows;
  num_blocks_ = in / kActivationBlock;
  blocks_.resize(static_cast<size_t>(num_blocks_ * rows));
}

void QuantizedRows::SetBlock(int64_t row, int64_t block, const float* x) {
  using Bytes = int8_t __attribute__((vector_size(16)));
  QuantizedBlock& b = blocks_[block * rows_ + row];
  const Vec halves[2] = {simd::Load(x), simd::Load(x + simd::kLanes)};
  const Vec sizes[2] = {halves[0] < 0 ? -halves[0] : halves[0], halves[1] < 0 ? -halves[1] : halves[1]};
  const float largest = simd::Max(sizes[0] > sizes[1] ? sizes[0] : sizes[1]);
  const float inverse = largest > kSmallest ? kMaxCode / largest : 0.0f;
  for (int h = 0; h < 2; ++h) {
    const Vec rounded = (halves[h] * inverse + kRounder) - kRounder;
    const VecI q = __builtin_convertvector(rounded, VecI), hi = (q + 128) >> 8, lo = q - (hi << 8);
    const Bytes hi_bytes = __builtin_convertvector(hi, Bytes), lo_bytes = __builtin_convertvector(lo, Bytes);
    std::memcpy(b.hi + simd::kLanes * h, &hi_bytes, sizeof hi_bytes);
    std::memcpy(b.lo + simd::kLanes * h, &lo_bytes, sizeof lo_bytes);
    b.half_sums[h] = static_cast<int32_t>(simd::Sum(rounded));  // below 2^24: exact
  }
  b.scale = inverse > 0 ? largest * (1 / kMaxCode) : 0.0f;
  b.scaled_sum = b.scale * static_cast<float>(b.half_sums[0] + b.half_sums[1]);
}

}  // namespace elrea
