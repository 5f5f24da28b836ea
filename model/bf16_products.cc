#include "model/bf16_products.h"

#include <algorithm>
#include <cstring>

#include "model/amx.h"
#include "model/simd.h"

namespace elrea {

using c10::BFloat16;
using simd::kLanes;
using simd::Load;
using simd::Store;
using simd::Vec;

void PackRowPairs(const BFloat16* b, int64_t stride, int64_t k, int64_t n, BFloat16* packed) {
  for (int64_t row = 0; row < k; row += 2) {
    for (int64_t i = 0; i < n; i += kLanes) {
      simd::Half first, second = {};
      std::memcpy(&first, b + row * stride + i, sizeof first);
      if (row + 1 < k) std::memcpy(&second, b + (row + 1) * stride + i, sizeof second);
      simd::VecU pairs = __builtin_convertvector(first, simd::VecU) | __builtin_convertvector(second, simd::VecU) << 16;
      std::memcpy(packed + row * n + 2 * i, &pairs, sizeof pairs);
    }
  }
}

// A pair of one row of b is 32 bits, so this is a plain transposition of words.
void PackTransposed(const BFloat16* b, int64_t stride, int64_t n, int64_t k, BFloat16* packed) {
  const int64_t width = PackedWidth(n), pairs = k / 2;
  for (int64_t column = 0; column < width; ++column) {
    const BFloat16* row = b + column * stride;
    for (int64_t pair = 0; pair < pairs; ++pair) {
      uint32_t word = 0;
      if (column < n) std::memcpy(&word, row + 2 * pair, sizeof word);
      std::memcpy(packed + 2 * (pair * width + column), &word, sizeof word);
    }
  }
}

#ifdef __AVX512BF16__

namespace {

// Rows x (Columns * 16) of C in registers; unrolled, because at -O2 the sums would live in memory.
template <int Rows, int Columns>
void Tile(const BFloat16* a, int64_t a_stride, int64_t k_pairs, const BFloat16* b, int64_t width, float* c,
          int64_t c_stride, bool accumulate) {
  __m512 sums[Rows][Columns];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Columns; ++v) {
      sums[r][v] = accumulate ? (__m512)Load(c + r * c_stride + v * kLanes) : _mm512_setzero_ps();
    }
  }
  for (int64_t pair = 0; pair < k_pairs; ++pair, b += 2 * width) {
    __m512bh columns[Columns];
#pragma GCC unroll 8
    for (int v = 0; v < Columns; ++v) std::memcpy(&columns[v], b + 2 * v * kLanes, sizeof columns[v]);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      uint32_t word;
      std::memcpy(&word, a + r * a_stride + 2 * pair, sizeof word);
      const auto splat = (__m512bh)_mm512_set1_epi32(static_cast<int>(word));
#pragma GCC unroll 8
      for (int v = 0; v < Columns; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], splat, columns[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Columns; ++v) Store(c + r * c_stride + v * kLanes, (Vec)sums[r][v]);
  }
}

template <int Columns>
void TileColumn(const BFloat16* a, int64_t a_stride, int64_t m, int64_t k_pairs, const BFloat16* b, int64_t width,
                float* c, int64_t c_stride, bool accumulate) {
  constexpr int kRows = 6;
  int64_t r = 0;
  for (; r + kRows <= m; r += kRows) {
    Tile<kRows, Columns>(a + r * a_stride, a_stride, k_pairs, b, width, c + r * c_stride, c_stride, accumulate);
  }
  for (; r + 2 <= m; r += 2) {
    Tile<2, Columns>(a + r * a_stride, a_stride, k_pairs, b, width, c + r * c_stride, c_stride, accumulate);
  }
  if (r < m) Tile<1, Columns>(a + r * a_stride, a_stride, k_pairs, b, width, c + r * c_stride, c_stride, accumulate);
}

#ifdef ELREA_AMX

// A product on the matrix unit, sixteen rows by 32 columns at a time. Register 0 and 1 hold sums, 2 to 4 sixteen pairs of A and
// B, 5 to 7 the pairs that are left.
class AmxProduct {
 public:
  AmxProduct(const BFloat16* a, int64_t a_stride, int64_t k_pairs, PackedOperand b, int64_t n, float* c, int64_t c_stride,
             bool accumulate)
      : a_(a), a_stride_(a_stride), k_pairs_(k_pairs), b_(b), n_(n), c_(c), c_stride_(c_stride), accumulate_(accumulate) {}

  void Run(int64_t m) {
    const int64_t whole = m / amx::kRows * amx::kRows;
    if (whole > 0) Rows(0, whole, amx::kRows);
    if (whole < m) Rows(whole, m, static_cast<int>(m - whole));
  }

 private:
  static constexpr int64_t kPairs = 16;

  // Rows [begin, end), `height` at a time.
  void Rows(int64_t begin, int64_t end, int height) {
    const int rest = static_cast<int>(k_pairs_ % kPairs);
    const amx::Registers registers({{height, 64}, {height, 64}, {height, 64}, {16, 64}, {16, 64}, {height, 4 * rest}, {rest, 64}, {rest, 64}});
    for (int64_t row = begin; row < end; row += height) {
      int64_t column = 0;
      for (; column + 2 * kLanes <= n_; column += 2 * kLanes) Block<2>(row, column);
      if (column < n_) Block<1>(row, column);
    }
  }

  template <int kColumns>
  void Block(int64_t row, int64_t column) {
    float* c = c_ + row * c_stride_ + column;
    const int64_t c_bytes = 4 * c_stride_;
    if (accumulate_) {
      amx::Load<0>(c, c_bytes);
      if constexpr (kColumns == 2) amx::Load<1>(c + kLanes, c_bytes);
    } else {
      amx::Zero<0>();
      if constexpr (kColumns == 2) amx::Zero<1>();
    }
    const BFloat16 *a = a_ + row * a_stride_, *b = b_.data + 2 * column;
    int64_t pair = 0;
    for (; pair + kPairs <= k_pairs_; pair += kPairs) Step<kColumns, 2>(a + 2 * pair, b + 2 * pair * b_.width);
    if (pair < k_pairs_) Step<kColumns, 5>(a + 2 * pair, b + 2 * pair * b_.width);
    amx::Store<0>(c, c_bytes);
    if constexpr (kColumns == 2) amx::Store<1>(c + kLanes, c_bytes);
  }

  // Pairs of the registers kFirst to kFirst + 2.
  template <int kColumns, int kFirst>
  void Step(const BFloat16* a, const BFloat16* b) {
    amx::Load<kFirst>(a, 2 * a_stride_);
    amx::Load<kFirst + 1>(b, 4 * b_.width);
    amx::MultiplyBFloat16<0, kFirst, kFirst + 1>();
    if constexpr (kColumns == 2) {
      amx::Load<kFirst + 2>(b + 2 * kLanes, 4 * b_.width);
      amx::MultiplyBFloat16<1, kFirst, kFirst + 2>();
    }
  }

  const BFloat16* a_;
  const int64_t a_stride_, k_pairs_;
  const PackedOperand b_;
  const int64_t n_;
  float* c_;
  const int64_t c_stride_;
  const bool accumulate_;
};

#endif

}  // namespace

void MultiplyPacked(const BFloat16* a, int64_t a_stride, int64_t m, int64_t k_pairs, PackedOperand b, int64_t n,
                    float* c, int64_t c_stride, bool accumulate) {
#ifdef ELREA_AMX
  if (amx::Usable()) return AmxProduct(a, a_stride, k_pairs, b, n, c, c_stride, accumulate).Run(m);
#endif
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    TileColumn<4>(a, a_stride, m, k_pairs, b.data + 2 * i, b.width, c + i, c_stride, accumulate);
  }
  for (; i < n; i += kLanes) {
    TileColumn<1>(a, a_stride, m, k_pairs, b.data + 2 * i, b.width, c + i, c_stride, accumulate);
  }
}

#else

void MultiplyPacked(const BFloat16* a, int64_t a_stride, int64_t m, int64_t k_pairs, PackedOperand b, int64_t n,
                    float* c, int64_t c_stride, bool accumulate) {
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      float sum = accumulate ? c[r * c_stride + i] : 0;
      for (int64_t k = 0; k < 2 * k_pairs; ++k) {
        sum += static_cast<float>(a[r * a_stride + k]) * static_cast<float>(b.data[2 * (k / 2 * b.width + i) + k % 2]);
      }
      c[r * c_stride + i] = sum;
    }
  }
}

#endif

}  // namespace elrea
