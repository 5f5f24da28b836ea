// The one random number that decides about an element of a dropout mask, for all devices: constexpr, so that CUDA
// kernels may call it too.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rng.h"

namespace elrea {

// A 32-bit finaliser with full avalanche (Wellons' lowbias32), of one counter or of a vector of them.
template <typename Bits>
constexpr Bits DropoutBits(Bits x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

// The element of a place at `column` is kept when DropoutBits(column ^ DropoutRowKey(key, place)) >= the threshold.
constexpr uint32_t DropoutRowKey(uint64_t key, uint64_t place) {
  return static_cast<uint32_t>(RandomBits(key, 0, place));
}
inline uint32_t DropoutThreshold(double probability) {
  return static_cast<uint32_t>(std::lround(probability * 4294967296.0));
}
inline float DropoutScale(double probability) { return static_cast<float>(1.0 / (1.0 - probability)); }

}  // namespace elrea
