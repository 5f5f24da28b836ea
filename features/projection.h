// Seeded random projection R in R^{d_proj x P} of adapter gradients (method section 2), never stored: a
// blockwise sparse Johnson-Lindenstrauss transform. Coordinates are taken in vectors of 16. For each of s
// repetitions r, vector j gets from a hash of (seed, r, j) an offset o and 16 signs, and
//     out[(o + lane) mod d_proj] += sign_lane * x[16 j + lane] / sqrt(s),   lane = 0 .. 15.
// E[<Rx, Ry>] = <x, y>. Two coordinates meet in one output with probability 1 / d_proj, or never when they
// share a vector, and signs are independent, so the variance of an inner product is at most that of a dense
// matrix of random signs; tools/oracle/projection_compare.py measures it. Cost: s * P additions.
//
// R is a function of (seed, d_proj, s) alone: the same on every machine, for any batch size and any split of
// the coordinates at multiples of 16. Additions happen in order of j and r, so results are equal bit for bit
// too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"

namespace elrea {

// Const-shareable.
class RandomProjection {
 public:
  static constexpr int64_t kVector = 16;  // coordinates hashed together
  static constexpr int64_t kDefaultRepetitions = 4;

  // REQUIRES: num_inputs >= 1, d_proj >= 16, repetitions >= 1. Errors: kInvalidInput naming the value.
  RandomProjection(uint64_t seed, int64_t num_inputs, int64_t d_proj,
                   int64_t repetitions = kDefaultRepetitions);

  int64_t num_inputs() const { return num_inputs_; }
  int64_t d_proj() const { return d_proj_; }
  int64_t repetitions() const { return repetitions_; }
  uint64_t seed() const { return seed_; }

  // Floats in a running sum: d_proj plus the part that has yet to wrap around.
  int64_t sum_size() const { return d_proj_ + kVector; }

  // sum += R[:, begin : begin + count) x[0 : count), unscaled. Start from zeros, call in order of `begin`,
  // then Finish. REQUIRES: begin is a multiple of 16; count is one too, unless it ends at num_inputs; sum has
  // sum_size() floats.
  void Accumulate(const float* x, int64_t begin, int64_t count, float* sum) const;

  // out[0 : d_proj) = the projected vector. REQUIRES: sum from Accumulate.
  void Finish(const float* sum, float* out) const;

  // The portable twin of Accumulate, equal bit for bit.
  void AccumulatePortable(const float* x, int64_t begin, int64_t count, float* sum) const;

  // Column `input` of R as (output, value) pairs: one per repetition, for tests and explanations.
  struct Cell {
    int64_t output;
    float value;
  };
  std::vector<Cell> Column(int64_t input) const;

 private:
  uint64_t Hash(int64_t repetition, int64_t vector_idx) const {
    return MixBits(stream_seeds_[repetition] + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(vector_idx + 1));
  }
  // High 32 bits choose the offset, low 16 bits the signs.
  int64_t Offset(uint64_t hash) const {
    return static_cast<int64_t>(((hash >> 32) * static_cast<uint64_t>(d_proj_)) >> 32);
  }
  void AccumulateTail(const float* x, int64_t vector_idx, int64_t count, float* sum) const;

  uint64_t seed_;
  int64_t num_inputs_, d_proj_, repetitions_;
  float scale_;                         // 1 / sqrt(repetitions)
  std::vector<uint64_t> stream_seeds_;  // per repetition: RandomBits' inner hash
};

// Several sizes in one pass over x: x is read from memory once. Equal to separate calls bit for bit.
// REQUIRES: as Accumulate, with sums[i] belonging to projections[i].
void AccumulateAll(std::span<const RandomProjection> projections, const float* x, int64_t begin,
                   int64_t count, std::span<float* const> sums);

}  // namespace elrea
