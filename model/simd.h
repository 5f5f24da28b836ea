// Sixteen f32 lanes in portable vector-extension code (AVX-512 where the compiler targets it), with loads and stores
// of f32 and bf16 memory. The building block of the fused CPU kernels; no libtorch here beyond the scalar types.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace elrea::simd {

constexpr int64_t kLanes = 16;
using Vec = float __attribute__((vector_size(64)));
using VecI = int32_t __attribute__((vector_size(64)));
using VecU = uint32_t __attribute__((vector_size(64)));
using Half = uint16_t __attribute__((vector_size(32)));

inline Vec Splat(float x) { return Vec{} + x; }

inline Vec Load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec Load(const c10::BFloat16* p) {
  Half h;
  std::memcpy(&h, p, sizeof h);
#ifdef __AVX512F__
  VecU bits = (VecU)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)h) << 16;  // gcc 12 converts in two halves
#else
  VecU bits = __builtin_convertvector(h, VecU) << 16;
#endif
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

inline void Store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
// Rounds to nearest even, as c10::BFloat16 does.
inline void Store(c10::BFloat16* p, Vec v) {
#ifdef __AVX512BF16__
  __m256bh h = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &h, sizeof h);
#else
  VecU bits;
  std::memcpy(&bits, &v, sizeof v);
  VecU rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Half h = __builtin_convertvector(rounded, Half);
  std::memcpy(p, &h, sizeof h);
#endif
}

// By halves: four dependent additions rather than fifteen.
inline float Sum(Vec v) {
  auto eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  auto four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
  auto two = __builtin_shufflevector(four, four, 0, 1) + __builtin_shufflevector(four, four, 2, 3);
  return two[0] + two[1];
}
// Four vectors reduced at once, in four lanes: a third of the work of four reductions, in the same order.
using Quad = float __attribute__((vector_size(16)));
template <typename Combine>
Quad Reduce4(Vec a, Vec b, Vec c, Vec d, Combine combine) {
  const auto halves = [&](Vec x, Vec y) {
    return combine(__builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                   __builtin_shufflevector(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  };
  const Vec ab = halves(a, b), cd = halves(c, d);
  Vec all = combine(__builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
                    __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31));
  all = combine(all, __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  all = combine(all, __builtin_shufflevector(all, all, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return __builtin_shufflevector(all, all, 0, 4, 8, 12);
}
inline Quad Sum4(Vec a, Vec b, Vec c, Vec d) {
  return Reduce4(a, b, c, d, [](Vec x, Vec y) { return x + y; });
}
inline Quad Max4(Vec a, Vec b, Vec c, Vec d) {
  return Reduce4(a, b, c, d, [](Vec x, Vec y) { return x > y ? x : y; });
}
inline float Max(Vec v) {
  auto larger = [](auto a, auto b) { return a > b ? a : b; };
  auto eight = larger(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                      __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
  auto four = larger(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
  auto two = larger(__builtin_shufflevector(four, four, 0, 1), __builtin_shufflevector(four, four, 2, 3));
  return two[0] > two[1] ? two[0] : two[1];
}

// exp(x) with a relative error under 2e-7 in [-87, 88]; clamps outside, so exp(-inf) is about 1e-38.
inline Vec Exp(Vec x) {
  const Vec lo = Splat(-87.3f), hi = Splat(88.3f);
  x = x < lo ? lo : x;
  x = x > hi ? hi : x;
  const Vec magic = Splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  Vec n = (x * 1.44269504088896341f + magic) - magic;
  Vec r = x - n * 0.693359375f;  // ln 2 in two parts (Cody and Waite)
  r = r - n * -2.12194440e-4f;
  Vec p = Splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  VecI exponent = (__builtin_convertvector(n, VecI) + 127) << 23;
  Vec scale;
  std::memcpy(&scale, &exponent, sizeof scale);
  return p * scale;
}

inline Vec Sigmoid(Vec x) { return 1.0f / (1.0f + Exp(-x)); }

}  // namespace elrea::simd
