#include "model/quantized_rows.h"

#include <algorithm>
#include <cmath>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace elrea {

namespace {
constexpr float kMaxCode = 127 * 256;  // leaves room for a low byte of 127
constexpr float kSmallest = 1e-30f;    // below, a block is zero: its scale's inverse would overflow
}  // namespace

void QuantizedRows::Resize(int64_t rows, int64_t in) {
  rows_ = rows;
  num_blocks_ = in / kActivationBlock;
  codes_.resize(static_cast<size_t>(num_blocks_ * rows * 64));
  scales_.resize(static_cast<size_t>(num_blocks_ * rows));
  scaled_sums_.resize(scales_.size());
  half_sums_.resize(2 * scales_.size());
}

void QuantizedRows::SetBlock(int64_t row, int64_t block, const float* x) {
  const int64_t at = block * rows_ + row;
  int8_t* codes = &codes_[at * 64];
  int32_t* sums = &half_sums_[at * 2];
#ifdef __AVX512F__
  const __m512 halves[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
  const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
  const float inverse = largest > kSmallest ? kMaxCode / largest : 0.0f;
  for (int h = 0; h < 2; ++h) {
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(halves[h], _mm512_set1_ps(inverse)));
    const __m512i hi = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
    const __m512i lo = _mm512_sub_epi32(q, _mm512_slli_epi32(hi, 8));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16 * h), _mm512_cvtepi32_epi8(hi));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 32 + 16 * h), _mm512_cvtepi32_epi8(lo));
    sums[h] = _mm512_reduce_add_epi32(q);
  }
#else
  float largest = 0;
  for (int i = 0; i < kActivationBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const float inverse = largest > kSmallest ? kMaxCode / largest : 0.0f;
  sums[0] = sums[1] = 0;
  for (int i = 0; i < kActivationBlock; ++i) {
    const auto q = static_cast<int32_t>(std::nearbyint(x[i] * inverse));
    const int32_t hi = (q + 128) >> 8;
    codes[i] = static_cast<int8_t>(hi);
    codes[32 + i] = static_cast<int8_t>(q - 256 * hi);
    sums[i / 16] += q;
  }
#endif
  scales_[at] = inverse > 0 ? largest / kMaxCode : 0.0f;
  scaled_sums_[at] = scales_[at] * static_cast<float>(sums[0] + sums[1]);
}

}  // namespace elrea
