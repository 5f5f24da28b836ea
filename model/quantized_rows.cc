#include "model/quantized_rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "model/simd.h"

namespace elrea {

using simd::Quad;
using simd::Vec;
using simd::VecI;

namespace {

constexpr float kMaxCode = 127 * 256;      // of an own row: leaves room for a low byte of 127
constexpr float kMaxDifferenceCode = 127;  // one byte
constexpr float kRounder = 12582912;       // 1.5 * 2^23: adding it rounds to an integer
constexpr float kSmallest = 1e-30f;        // below, a block is zero: its scale's inverse would overflow

constexpr int64_t kHalf = simd::kLanes;    // of a block, in the lanes of a vector

// As many blocks are quantised at once as the reductions of a group take (simd::Sum4), so that their latencies overlap.
constexpr int kGroup = 4;
using Halves = Vec[2 * kGroup];
using Targets = QuantizedBlock* [kGroup];

// Blocks b .. b + 3; behind the last one the last one again, which is then written more than once.
int64_t InGroup(int64_t b, int k, int64_t end) { return std::min(b + k, end - 1); }

Vec Round(Vec x) { return (x + kRounder) - kRounder; }
Vec Size(Vec x) { return x < 0 ? -x : x; }

// The largest magnitude of each block.
Quad LargestSizes(const Halves& x) {
  Vec largest[kGroup];
#pragma GCC unroll 4
  for (int k = 0; k < kGroup; ++k) {
    const Vec a = Size(x[2 * k]), b = Size(x[2 * k + 1]);
    largest[k] = a > b ? a : b;
  }
  return simd::Max4(largest[0], largest[1], largest[2], largest[3]);
}

// What the elements of each block are multiplied with, and the codes after: 0 for a block that is zero.
struct Scales {
  Quad inverse, scale;
};
Scales ScalesFor(const Halves& x, float max_code) {
  const Quad largest = LargestSizes(x), zero = {};
  return {largest > kSmallest ? max_code / largest : zero, largest > kSmallest ? largest * (1 / max_code) : zero};
}

// q: integers that fit a byte.
void SetGroup(const Targets& to, const Halves& q, Quad scale) {
  using Bytes = int8_t __attribute__((vector_size(16)));
  const Quad sums[2] = {simd::Sum4(q[0], q[1], q[2], q[3]), simd::Sum4(q[4], q[5], q[6], q[7])};  // below 2^24: exact
#pragma GCC unroll 4
  for (int k = 0; k < kGroup; ++k) {
    QuantizedBlock& block = *to[k];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Bytes bytes = __builtin_convertvector(__builtin_convertvector(q[2 * k + h], VecI), Bytes);
      std::memcpy(block.codes + kHalf * h, &bytes, sizeof bytes);
      block.half_sums[h] = static_cast<int32_t>(sums[k / 2][k % 2 * 2 + h]);
    }
    block.scale = scale[k];
    block.scaled_sum = scale[k] * (sums[k / 2][k % 2 * 2] + sums[k / 2][k % 2 * 2 + 1]);
  }
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

void QuantizedRows::SetBlocks(int64_t row, int64_t begin, int64_t end, const float* x) {
  for (int64_t b = begin; b < end; b += kGroup) {
    Halves halves, highs, lows;
    Targets hi, lo;
    for (int k = 0; k < kGroup; ++k) {
      const int64_t block = InGroup(b, k, end);
      hi[k] = &at(block, plane(row));
      lo[k] = &at(block, plane(row) + 1);
      for (int h = 0; h < 2; ++h) halves[2 * k + h] = simd::Load(x + block * kActivationBlock + h * kHalf);
    }
    const Scales scales = ScalesFor(halves, kMaxCode);
#pragma GCC unroll 8
    for (int h = 0; h < 2 * kGroup; ++h) {
      const Vec q = Round(halves[h] * scales.inverse[h / 2]);
      const Vec high = Round(q * (1.0f / 256));  // leaves [-128, 128]; 128, at a tie, is carried
      const Vec low = q - high * 256.0f;
      const Vec carry = low > 127.0f ? simd::Splat(1) : simd::Splat(0);
      highs[h] = high + carry;
      lows[h] = low - carry * 256.0f;
    }
    SetGroup(hi, highs, 256 * scales.scale);
    SetGroup(lo, lows, scales.scale);
  }
}

void QuantizedRows::SetDifferences(int64_t row, int64_t begin, int64_t end, const float* x, const float* reference) {
  for (int64_t b = begin; b < end; b += kGroup) {
    Halves halves, codes;
    Targets to;
    for (int k = 0; k < kGroup; ++k) {
      const int64_t block = InGroup(b, k, end);
      to[k] = &at(block, plane(row));
      for (int h = 0; h < 2; ++h) {
        const int64_t i = block * kActivationBlock + h * kHalf;
        halves[2 * k + h] = simd::Load(x + i) - simd::Load(reference + i);
      }
    }
    const Scales scales = ScalesFor(halves, kMaxDifferenceCode);
#pragma GCC unroll 8
    for (int h = 0; h < 2 * kGroup; ++h) codes[h] = Round(halves[h] * scales.inverse[h / 2]);
    SetGroup(to, codes, scales.scale);
  }
}

}  // namespace elrea
