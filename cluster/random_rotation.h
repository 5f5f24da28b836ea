// A seeded random rotation that spreads any vector evenly over its coordinates, so that a quarter of the
// coordinates estimates an inner product: <x, z> ~ 4 * sum over the quarter, with standard deviation
//     sqrt((1 - 1/4) / quarter) * sqrt(|x|^2 |z|^2 + <x, z>^2)
// whatever x and z are (Ailon, Chazelle 2006: random signs, Hadamard transform, random signs, fold). O(dim
// log dim).
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

// Const-shareable.
class RandomRotation {
 public:
  static constexpr int64_t kParts = 4;

  // REQUIRES: dim >= 64.
  RandomRotation(int64_t dim, uint64_t seed);

  int64_t dim() const { return dim_; }
  int64_t padded_dim() const { return padded_dim_; }  // dim rounded up to a power of two
  int64_t part_dim() const { return padded_dim_ / kParts; }

  // out [padded_dim] = the rotated x - shift; its four parts are equivalent random samples. Norms are kept.
  void Apply(const float* x, const float* shift, float* out) const;

 private:
  int64_t dim_, padded_dim_;
  std::vector<float> first_signs_;   // [padded_dim] of +1 or -1
  std::vector<float> second_signs_;  // [padded_dim] of +-1 / sqrt(4 padded_dim): norms are kept
};

}  // namespace elrea
