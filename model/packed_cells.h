// The cells of a packed matrix (packed_matrix.h) as its products read them.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define ELREA_PACKED_PRODUCTS 1
#include <immintrin.h>

#include <cstdint>

namespace elrea {

// The format as compile-time constants: the inner loop has no branches.
template <int kBits, int kPart, int kZero, bool kMinima, bool kHalf>
struct CellFormat {
  static constexpr int bits = kBits, part = kPart, zero = kZero, parts = 32 / kPart;
  static constexpr bool minima = kMinima;
  static constexpr int code_bytes = 64 * kBits, vector_bytes = kHalf ? 32 : 64;
  static constexpr int cell_bytes = code_bytes + vector_bytes * parts * (kMinima ? 2 : 1);

  static __m512 Numbers(const uint8_t* p) {
    if constexpr (kHalf) {
      return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    } else {
      return _mm512_loadu_ps(p);
    }
  }
  // Eight groups of four inputs.
  static void Codes(const uint8_t* p, __m512i (&codes)[8]) {
    if constexpr (kBits == 8) {
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) codes[g] = _mm512_loadu_si512(p + 64 * g);
    } else {
      const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const __m512i both = _mm512_loadu_si512(p + 64 * g);
        codes[2 * g] = _mm512_and_si512(both, low);
        codes[2 * g + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      }
    }
  }
};

}  // namespace elrea

#endif
