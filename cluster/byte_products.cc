#include "cluster/byte_products.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#ifdef __AVX512VNNI__
#include <immintrin.h>
#endif

namespace elrea {
namespace {

constexpr uint8_t kZero = 128;  // the packed form of 0

// The packed bytes are 128 too large: u . l = (r + 128) . l = r . l + 128 * sum(l).
int32_t Correction(const int8_t* left, int64_t dim) {
  int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < dim; ++d) sum += left[d];
  return kZero * sum;
}

#ifdef __AVX512VNNI__
// kRows left rows by one group of 64 packed rows. All loops over registers are unrolled: an array that is
// indexed by a variable lives in memory, at half the speed.
template <int kRows>
void MultiplyGroup(const int8_t* left, const int32_t* corrections, const uint8_t* group, int64_t dim,
                   int32_t* out, int64_t out_stride) {
  __m512i sums[kRows][4];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
    const __m512i start = _mm512_set1_epi32(-corrections[i]);
    sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = start;
  }
  for (int64_t d = 0; d < dim; d += 4) {
    const uint8_t* packed = group + d * BytePanel::kGroup;
    const __m512i p0 = _mm512_loadu_si512(packed), p1 = _mm512_loadu_si512(packed + 64);
    const __m512i p2 = _mm512_loadu_si512(packed + 128), p3 = _mm512_loadu_si512(packed + 192);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      int32_t four;
      std::memcpy(&four, left + i * dim + d, sizeof four);
      const __m512i bytes = _mm512_set1_epi32(four);
      sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], p0, bytes);
      sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], p1, bytes);
      sums[i][2] = _mm512_dpbusd_epi32(sums[i][2], p2, bytes);
      sums[i][3] = _mm512_dpbusd_epi32(sums[i][3], p3, bytes);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
    _mm512_storeu_si512(out + i * out_stride, sums[i][0]);
    _mm512_storeu_si512(out + i * out_stride + 16, sums[i][1]);
    _mm512_storeu_si512(out + i * out_stride + 32, sums[i][2]);
    _mm512_storeu_si512(out + i * out_stride + 48, sums[i][3]);
  }
}
#endif

}  // namespace

bool HasFastByteProducts() {
#ifdef __AVX512VNNI__
  return true;
#else
  return false;
#endif
}

float Quantize(const float* values, int64_t dim, int8_t* bytes) {
  float largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < dim; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float per_unit = largest > 0 ? 127.0f / largest : 0;
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the float.
#pragma omp simd
  for (int64_t i = 0; i < dim; ++i) {
    const float shifted = values[i] * per_unit + 12582912.0f;
    bytes[i] = static_cast<int8_t>(static_cast<int32_t>(shifted - 12582912.0f));
  }
  return largest / 127.0f;
}

BytePanel::BytePanel(int64_t rows, int64_t dim)
    : padded_rows_((rows + kGroup - 1) / kGroup * kGroup), dim_(dim), packed_(padded_rows_ * dim, kZero) {}

void BytePanel::SetRow(int64_t row, const int8_t* bytes) {
  uint8_t* packed = packed_.data() + row / kGroup * kGroup * dim_ + row % kGroup * 4;
  for (int64_t d = 0; d < dim_; d += 4) {
    for (int64_t k = 0; k < 4; ++k) packed[d * kGroup + k] = static_cast<uint8_t>(bytes[d + k] + kZero);
  }
}

void BytePanel::Products(const int8_t* left, int64_t num_left, int32_t* out) const {
#ifdef __AVX512VNNI__
  constexpr int64_t kLeft = 6;
  std::vector<int32_t> corrections(num_left);
  for (int64_t i = 0; i < num_left; ++i) corrections[i] = Correction(left + i * dim_, dim_);
  for (int64_t j = 0; j < padded_rows_; j += kGroup) {
    const uint8_t* group = packed_.data() + j * dim_;
    int64_t i = 0;
    for (; i + kLeft <= num_left; i += kLeft) {
      MultiplyGroup<kLeft>(left + i * dim_, &corrections[i], group, dim_, out + i * padded_rows_ + j,
                           padded_rows_);
    }
    for (; i < num_left; ++i) {
      MultiplyGroup<1>(left + i * dim_, &corrections[i], group, dim_, out + i * padded_rows_ + j,
                       padded_rows_);
    }
  }
#else
  ProductsPortable(left, num_left, out);
#endif
}

void BytePanel::ProductsPortable(const int8_t* left, int64_t num_left, int32_t* out) const {
  for (int64_t i = 0; i < num_left; ++i) {
    const int8_t* row = left + i * dim_;
    const int32_t correction = Correction(row, dim_);
    for (int64_t j = 0; j < padded_rows_; ++j) {
      const uint8_t* packed = packed_.data() + j / kGroup * kGroup * dim_ + j % kGroup * 4;
      int32_t sum = 0;
      for (int64_t d = 0; d < dim_; ++d) sum += row[d] * packed[d / 4 * 4 * kGroup + d % 4];
      out[i * padded_rows_ + j] = sum - correction;
    }
  }
}

int32_t ByteDot(const int8_t* left, const int8_t* right, int64_t dim) {
  int64_t d = 0;
  int32_t sum = 0;
#ifdef __AVX512VNNI__
  const __m512i sign_bits = _mm512_set1_epi8(static_cast<char>(0x80)),
                zeros = _mm512_set1_epi8(static_cast<char>(kZero));
  __m512i products = _mm512_setzero_si512(), corrections = _mm512_setzero_si512();
  for (; d + 64 <= dim; d += 64) {
    const __m512i unsigned_left = _mm512_xor_si512(_mm512_loadu_si512(left + d), sign_bits);  // left + 128
    const __m512i signed_right = _mm512_loadu_si512(right + d);
    products = _mm512_dpbusd_epi32(products, unsigned_left, signed_right);
    corrections = _mm512_dpbusd_epi32(corrections, zeros, signed_right);
  }
  int32_t lanes[16];
  _mm512_storeu_si512(lanes, _mm512_sub_epi32(products, corrections));
  for (int32_t lane : lanes) sum += lane;
#endif
  for (; d < dim; ++d) sum += left[d] * right[d];
  return sum;
}

}  // namespace elrea
