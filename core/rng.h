// Counter-based random numbers: every draw is a pure function of (seed, stream, index), so results do not
// depend on thread count, batch size or resuming. Not cryptographic.
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

// SplitMix64's finaliser (Steele et al. 2014), a bijection on 64-bit integers with full avalanche.
constexpr uint64_t MixBits(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// The index-th 64-bit number of a stream.
constexpr uint64_t RandomBits(uint64_t seed, uint64_t stream, uint64_t index) {
  return MixBits(MixBits(seed + 0x9e3779b97f4a7c15ULL * (stream + 1)) + 0x9e3779b97f4a7c15ULL * (index + 1));
}

// Uniform in [0, 1) with 53 bits.
inline double RandomUniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return static_cast<double>(RandomBits(seed, stream, index) >> 11) * 0x1.0p-53;
}

// A stateful view for sequential use.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}
  uint64_t Bits() { return RandomBits(seed_, stream_, index_++); }
  double Uniform() { return static_cast<double>(Bits() >> 11) * 0x1.0p-53; }
  double Normal();                 // standard normal, Box-Muller
  uint64_t Below(uint64_t bound);  // uniform in [0, bound), unbiased; REQUIRES: bound > 0

 private:
  uint64_t seed_, stream_, index_ = 0;
};

// A seeded permutation of 0..n-1 (Fisher-Yates).
std::vector<int64_t> RandomPermutation(int64_t n, uint64_t seed, uint64_t stream = 0);
// k of 0..n-1 without replacement, ascending.
std::vector<int64_t> RandomSample(int64_t n, int64_t k, uint64_t seed, uint64_t stream = 0);

}  // namespace elrea
