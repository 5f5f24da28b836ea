// Gradients of low-rank matrices are sums over rows, h^T x, of which h has few columns. The library's product of such a shape is
// slow, and compiled anew for every number of rows; this one takes pairs of rows (bf16_products.h).
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

#include "model/low_rank.h"

namespace elrea {

// out [hidden, n] f32 = h^T x for h [rows, hidden], rounded to bf16, and x [rows, n]; sums in f32. Threads share the columns; the
// result does not depend on their number. REQUIRES: n % 16 == 0, HasBf16Products.
void MultiplyTurned(RowBlock<const float> h, RowBlock<const c10::BFloat16> x, int64_t rows, int64_t hidden, int64_t n,
                    float* out);

}  // namespace elrea
