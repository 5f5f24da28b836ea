// What is asked of a whole range of f32 values, sixteen at a time.
#pragma once

#include <algorithm>
#include <span>

#include "model/simd.h"

namespace elrea::simd {

// REQUIRES: not empty.
inline float Largest(std::span<const float> values) {
  size_t i = 0;
  float top = values[0];
  if (values.size() >= kLanes) {
    Vec best = Load(&values[0]);
    for (; i + kLanes <= values.size(); i += kLanes) {
      const Vec x = Load(&values[i]);
      best = x > best ? x : best;
    }
    top = Max(best);
  }
  for (; i < values.size(); ++i) top = std::max(top, values[i]);
  return top;
}

}  // namespace elrea::simd
