// Small bf16 products with f32 sums on one thread, for loops that the library's GEMM is too coarse for (attention inside
// one segment): C [m, n] = A [m, k] B [k, n] with B packed so that one instruction takes two of its rows,
//
//   packed [ceil(k / 2), width, 2],  width = n rounded up to 16
//
// Needs AVX-512 with bf16 dot products (HasBf16Products); callers have another path without them.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <vector>

namespace elrea {

constexpr bool HasBf16Products() {
#ifdef __AVX512BF16__
  return true;
#else
  return false;
#endif
}

// Columns a packed operand of n columns has.
constexpr int64_t PackedWidth(int64_t n) { return (n + 15) / 16 * 16; }

// B [k, n], rows `stride` apart. REQUIRES: n % 16 == 0. An odd k gets a row of zeros.
void PackRowPairs(const c10::BFloat16* b, int64_t stride, int64_t k, int64_t n, c10::BFloat16* packed);
// B = b^T with b [n, k], rows `stride` apart. REQUIRES: k % 2 == 0. Columns from n on are zero.
void PackTransposed(const c10::BFloat16* b, int64_t stride, int64_t n, int64_t k, c10::BFloat16* packed);

// A [m, 2 k_pairs], rows `a_stride` apart; the columns [0, n) of a packed operand of `width` columns.
// REQUIRES: n % 16 == 0.
struct PackedOperand {
  const c10::BFloat16* data;
  int64_t width;
};
void MultiplyPacked(const c10::BFloat16* a, int64_t a_stride, int64_t m, int64_t k_pairs, PackedOperand b, int64_t n,
                    float* c, int64_t c_stride, bool accumulate);

// The first `size` elements of a thread's buffer, which only grows and keeps its contents between uses.
template <typename T, typename Allocator>
T* Sized(std::vector<T, Allocator>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
  return buffer.data();
}

}  // namespace elrea
