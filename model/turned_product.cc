#include "model/turned_product.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/bf16_products.h"

namespace elrea {

using c10::BFloat16;

namespace {

constexpr int64_t kRows = 256, kColumns = 192;  // packed at once: they stay in the nearest caches

// h [rows, hidden] -> [hidden, rows rounded up to even], zero behind the end.
void Turn(RowBlock<const float> h, int64_t rows, int64_t hidden, BFloat16* turned) {
  const int64_t padded = (rows + 1) / 2 * 2;
  for (int64_t t = 0; t < padded; ++t) {
    for (int64_t j = 0; j < hidden; ++j) {
      turned[j * padded + t] = static_cast<BFloat16>(t < rows ? h.row(t)[j] : 0.0f);
    }
  }
}

}  // namespace

void MultiplyTurned(RowBlock<const float> h, RowBlock<const BFloat16> x, int64_t rows, int64_t hidden, int64_t n,
                    float* out) {
  thread_local std::vector<BFloat16> turned_buffer;
  const int64_t padded = (rows + 1) / 2 * 2;
  BFloat16* turned = Sized(turned_buffer, hidden * padded);
  Turn(h, rows, hidden, turned);
  if (rows == 0) std::fill_n(out, hidden * n, 0.0f);
  at::parallel_for(0, (n + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    thread_local std::vector<BFloat16> packed_buffer;
    BFloat16* packed = Sized(packed_buffer, kRows * kColumns);
    for (int64_t column = begin * kColumns; column < std::min(n, end * kColumns); column += kColumns) {
      const int64_t width = std::min(kColumns, n - column);
      for (int64_t row = 0; row < rows; row += kRows) {
        const int64_t count = std::min(kRows, rows - row);
        PackRowPairs(x.row(row) + column, x.stride, count, width, packed);
        MultiplyPacked(turned + row, padded, hidden, (count + 1) / 2, {packed, width}, width, out + column, n,
                       /*accumulate=*/row > 0);
      }
    }
  });
}

}  // namespace elrea
