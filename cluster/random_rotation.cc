#include "cluster/random_rotation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/rng.h"

namespace elrea {
namespace {

// In-place Hadamard butterflies between elements `stride` apart, for strides from `first_stride` up to n / 2.
// Two levels a pass: half the memory traffic of one level a pass.
void Hadamard(float* x, int64_t n, int64_t first_stride) {
  int64_t stride = first_stride;
  for (; 4 * stride <= n; stride *= 4) {
    for (int64_t base = 0; base < n; base += 4 * stride) {
      float *a = x + base, *b = a + stride, *c = b + stride, *d = c + stride;
#pragma omp simd
      for (int64_t i = 0; i < stride; ++i) {
        const float sum_ab = a[i] + b[i], diff_ab = a[i] - b[i], sum_cd = c[i] + d[i], diff_cd = c[i] - d[i];
        a[i] = sum_ab + sum_cd;
        b[i] = diff_ab + diff_cd;
        c[i] = sum_ab - sum_cd;
        d[i] = diff_ab - diff_cd;
      }
    }
  }
  if (2 * stride > n) return;
  for (int64_t i = 0; i < stride; ++i) {
    const float a = x[i], b = x[i + stride];
    x[i] = a + b;
    x[i + stride] = a - b;
  }
}

// Butterflies inside each group of 16 neighbours: x becomes x[i ^ stride] + x[i] where the stride's bit of i
// is 0, and x[i ^ stride] - x[i] where it is 1.
void HadamardOfGroups(float* x, int64_t n) {
  using Lanes = float __attribute__((vector_size(64)));
  using Indices = int32_t __attribute__((vector_size(64)));
  constexpr Indices kLane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Lanes signs[4];
  Indices partners[4];
  for (int level = 0; level < 4; ++level) {
    for (int lane = 0; lane < 16; ++lane) signs[level][lane] = (lane >> level) & 1 ? -1.0f : 1.0f;
    partners[level] = kLane ^ (1 << level);
  }
  for (int64_t base = 0; base < n; base += 16) {
    Lanes group;
    std::memcpy(&group, x + base, sizeof group);
    group = __builtin_shuffle(group, partners[0]) + group * signs[0];
    group = __builtin_shuffle(group, partners[1]) + group * signs[1];
    group = __builtin_shuffle(group, partners[2]) + group * signs[2];
    group = __builtin_shuffle(group, partners[3]) + group * signs[3];
    std::memcpy(x + base, &group, sizeof group);
  }
}

}  // namespace

RandomRotation::RandomRotation(int64_t dim, uint64_t seed) : dim_(dim), padded_dim_(64) {
  while (padded_dim_ < dim) padded_dim_ *= 2;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(kParts * padded_dim_)));
  for (int64_t i = 0; i < padded_dim_; ++i) {
    first_signs_.push_back(RandomBits(seed, 0, i) & 1 ? 1.0f : -1.0f);
    second_signs_.push_back(RandomBits(seed, 1, i) & 1 ? scale : -scale);
  }
}

void RandomRotation::Apply(const float* x, const float* shift, float* out) const {
#pragma omp simd
  for (int64_t i = 0; i < dim_; ++i) out[i] = (x[i] - shift[i]) * first_signs_[i];
  std::fill(out + dim_, out + padded_dim_, 0.0f);
  HadamardOfGroups(out, padded_dim_);
  Hadamard(out, padded_dim_, 16);
#pragma omp simd
  for (int64_t i = 0; i < padded_dim_; ++i) out[i] *= second_signs_[i];
  Hadamard(out, padded_dim_, part_dim());
}

}  // namespace elrea
