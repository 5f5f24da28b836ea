// The Adam form of a gradient (method section 2) and its projection in one pass, so that no vector of P
// floats is written: a block of the form is made in the nearest cache and projected from there.
#pragma once

#include <cstdint>
#include <span>

#include "features/projection.h"

namespace elrea {

// a = m' / (sqrt(v') + eps),  m' = (b1 m + (1 - b1) g) / (1 - b1^n),  v' = (b2 v + (1 - b2) g^2) / (1 -
// b2^n).
struct AdamForm {
  int64_t steps = 1;  // n >= 1: optimiser steps taken at the checkpoint
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;     // > 0
  bool momentum = true;  // false: the term b1 m, common to all rows, is left out
};

// The form's constants with the bias corrections 1 - b^n divided in:
// a = (.m m + .g g) / (sqrt(.v v + .g_squared g^2) + .eps).
struct AdamCoefficients {
  float m, g, v, g_squared, eps;

  explicit AdamCoefficients(const AdamForm& form);
};

// out[i] = a of coordinate i, from gradient g and the moments m, v (v >= 0). m may be null without momentum.
void ApplyAdamForm(const AdamForm& form, const float* g, const float* m, const float* v, int64_t count,
                   float* out);
// The portable twin, equal bit for bit.
void ApplyAdamFormPortable(const AdamForm& form, const float* g, const float* m, const float* v,
                           int64_t count, float* out);

// AccumulateAll of the Adam form of coordinates [begin, begin + count); the pointers are at coordinate
// `begin`.
void ProjectAdam(const AdamForm& form, const float* g, const float* m, const float* v, int64_t begin,
                 int64_t count, std::span<const RandomProjection> projections, std::span<float* const> sums);

}  // namespace elrea
