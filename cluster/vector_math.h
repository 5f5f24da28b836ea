// Inner products of float vectors, accurate to about 1e-9 of |a| |b| (sums in double; from 256 elements on,
// of short float sums). CF-tree decisions compare distances that differ in the seventh digit, so accuracy and
// the order of summation are part of the contract: the order depends on the length alone, never on threads or
// alignment.
#pragma once

#include <cstdint>

namespace elrea {

// a . b over `dim` elements.
double Dot(const float* a, const float* b, int64_t dim);

// out[i] = rows[i * dim ...] . x for i < count; each equals Dot() bit for bit.
void DotRows(const float* rows, int64_t count, const float* x, int64_t dim, double* out);

// sum_i (a_i - b_i)^2.
double SquaredDistance(const float* a, const float* b, int64_t dim);

}  // namespace elrea
