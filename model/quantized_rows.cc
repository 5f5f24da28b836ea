#include "model/quantized_rows.h"

#include <cstring>
#include <numeric>

#include "model/simd.h"

namespace elrea {

using simd::Vec;
using simd::VecI;

namespace {

constexpr float kMaxCode = 127 * 256;      // of an own row: leaves room for a low byte of 127
constexpr float kMaxDifferenceCode = 127;  // one byte
constexpr float kRounder = 12582912;       // 1.5 * 2^23: adding it rounds to an integer
constexpr float kSmallest = 1e-30f;        // below, a block is zero: its scale's inverse would overflow

// Half a block, in the lanes of a vector.
constexpr int64_t kHalf = simd::kLanes;

Vec Round(Vec x) { return (x + kRounder) - kRounder; }

float LargestSize(Vec a, Vec b) {
  const Vec size_a = a < 0 ? -a : a, size_b = b < 0 ? -b : b;
  return simd::Max(size_a > size_b ? size_a : size_b);
}

// q: integers that fit a byte.
void SetHalf(QuantizedBlock& block, int half, Vec q) {
  using Bytes = int8_t __attribute__((vector_size(16)));
  const Bytes bytes = __builtin_convertvector(__builtin_convertvector(q, VecI), Bytes);
  std::memcpy(block.codes + kHalf * half, &bytes, sizeof bytes);
  block.half_sums[half] = static_cast<int32_t>(simd::Sum(q));  // below 2^24: exact
}

void SetScale(QuantizedBlock& block, float scale) {
  block.scale = scale;
  block.scaled_sum = scale * static_cast<float>(block.half_sums[0] + block.half_sums[1]);
}

}  // namespace

void QuantizedRows::Resize(int64_t in, std::span<const int64_t> references) {
  references_.assign(references.begin(), references.end());
  planes_.resize(references.size());
  num_planes_ = 0;
  for (int64_t row = 0; row < rows(); ++row) {
    planes_[static_cast<size_t>(row)] = num_planes_;
    num_planes_ += is_own(row) ? 2 : 1;
  }
  num_blocks_ = in / kActivationBlock;
  blocks_.resize(static_cast<size_t>(num_blocks_ * num_planes_));
}

void QuantizedRows::Resize(int64_t in, int64_t rows) {
  std::vector<int64_t> own(static_cast<size_t>(rows));
  std::iota(own.begin(), own.end(), int64_t{0});
  Resize(in, own);
}

void QuantizedRows::SetBlock(int64_t row, int64_t block, const float* x) {
  QuantizedBlock &hi = at(block, plane(row)), &lo = at(block, plane(row) + 1);
  const Vec halves[2] = {simd::Load(x), simd::Load(x + kHalf)};
  const float largest = LargestSize(halves[0], halves[1]);
  const float inverse = largest > kSmallest ? kMaxCode / largest : 0.0f;
  for (int h = 0; h < 2; ++h) {
    const Vec q = Round(halves[h] * inverse);
    const Vec high = Round(q * (1.0f / 256));  // leaves [-128, 128]; 128, at a tie, is carried
    Vec low = q - high * 256.0f;
    const Vec carry = low > 127.0f ? simd::Splat(1) : simd::Splat(0);
    low = low - carry * 256.0f;
    SetHalf(hi, h, high + carry);
    SetHalf(lo, h, low);
  }
  const float scale = inverse > 0 ? largest * (1 / kMaxCode) : 0.0f;
  SetScale(hi, 256 * scale);
  SetScale(lo, scale);
}

void QuantizedRows::SetDifference(int64_t row, int64_t block, const float* x, const float* reference) {
  QuantizedBlock& b = at(block, plane(row));
  const Vec halves[2] = {simd::Load(x) - simd::Load(reference),
                         simd::Load(x + kHalf) - simd::Load(reference + kHalf)};
  const float largest = LargestSize(halves[0], halves[1]);
  const float inverse = largest > kSmallest ? kMaxDifferenceCode / largest : 0.0f;
  for (int h = 0; h < 2; ++h) SetHalf(b, h, Round(halves[h] * inverse));
  SetScale(b, inverse > 0 ? largest * (1 / kMaxDifferenceCode) : 0.0f);
}

}  // namespace elrea
