// Seeded random projection R in R^{d_proj x P} of adapter gradients (method section 2), never stored: a
// blockwise sparse Johnson-Lindenstrauss transform. Coordinates are taken in blocks of 256, seen as 16
// vectors of 16 lanes:
//   1. each coordinate gets a random sign;
//   2. the vectors of a block are mixed lane by lane with the 16 x 16 Hadamard matrix H / 4;
//   3. for each of s repetitions r, vector j gets an offset o and 16 signs from a hash of (seed, r, j), and
//          out[(o + lane) mod d_proj] += sign_lane * vector[lane] / sqrt(s),   lane = 0 .. 15.
// E[<Rx, Ry>] = <x, y>; two mixed coordinates meet in an output with probability 1 / d_proj, so the variance
// is that of a dense matrix of random signs. Mixing matters for the tails: a coordinate reaches 16 s outputs,
// so one large coordinate that meets another no longer spoils a product (kurtosis of the error of
// heavy-tailed vectors 3.0 at s = 2; without mixing 9.9, and 3.9 at s = 4).
// tools/oracle/projection_compare.py measures all this. Cost: (s + 4) P additions.
//
// R is a function of (seed, d_proj, s) alone: the same on every machine and for any batch size. Results are
// equal bit for bit for any split of the coordinates at multiples of 256, if the pieces come in the same
// order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"

namespace elrea {

// Const-shareable.
class RandomProjection {
 public:
  static constexpr int64_t kVector = 256;  // coordinates that go together: where pieces may begin
  static constexpr int64_t kDefaultRepetitions = 2;

  // REQUIRES: num_inputs >= 1, d_proj >= 16, repetitions >= 1. Errors: kInvalidInput naming the value.
  RandomProjection(uint64_t seed, int64_t num_inputs, int64_t d_proj,
                   int64_t repetitions = kDefaultRepetitions);

  int64_t num_inputs() const { return num_inputs_; }
  int64_t d_proj() const { return d_proj_; }
  int64_t repetitions() const { return repetitions_; }
  uint64_t seed() const { return seed_; }
  const std::vector<uint64_t>& stream_seeds() const { return stream_seeds_; }  // [repetitions]

  // Floats in a running sum: d_proj plus the part that has yet to wrap around.
  int64_t sum_size() const { return d_proj_ + kLanes; }

  // sum += R[:, begin : begin + count) x[0 : count), unscaled. Start from zeros; when all is added, Finish.
  // REQUIRES: begin is a multiple of kVector; count is one too, unless the piece ends at num_inputs; sum has
  // sum_size() floats.
  void Accumulate(const float* x, int64_t begin, int64_t count, float* sum) const;

  // out[0 : d_proj) = the projected vector. REQUIRES: sum from Accumulate.
  void Finish(const float* sum, float* out) const;

  // The portable twin of Accumulate, equal bit for bit.
  void AccumulatePortable(const float* x, int64_t begin, int64_t count, float* sum) const;

  // Column `input` of R as (output, value) pairs, 16 per repetition: for tests and explanations.
  struct Cell {
    int64_t output;
    float value;
  };
  std::vector<Cell> Column(int64_t input) const;

 private:
  static constexpr int64_t kLanes = 16;
  static constexpr int64_t kBlockVectors = kVector / kLanes;

  // High 32 bits: offset. Low 16: signs of the lanes. Next 16, of repetition 0: signs before mixing.
  uint64_t Hash(int64_t repetition, int64_t vector_idx) const {
    return MixBits(stream_seeds_[repetition] + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(vector_idx + 1));
  }
  int64_t Offset(uint64_t hash) const {
    return static_cast<int64_t>(((hash >> 32) * static_cast<uint64_t>(d_proj_)) >> 32);
  }
  void AddBlock(const float* block, int64_t first_vector, float* sum) const;
  void AddBlockPortable(const float* block, int64_t first_vector, float* sum) const;
  template <typename AddBlockFunction>
  void ForEachBlock(const float* x, int64_t begin, int64_t count, AddBlockFunction add_block) const;

  uint64_t seed_;
  int64_t num_inputs_, d_proj_, repetitions_;
  float scale_;                         // of Finish: 1 / (4 sqrt(repetitions))
  std::vector<uint64_t> stream_seeds_;  // per repetition
};

// Several sizes in one pass over x: x is read from memory once. Equal to separate calls bit for bit.
// REQUIRES: as Accumulate, with sums[i] belonging to projections[i].
void AccumulateAll(std::span<const RandomProjection> projections, const float* x, int64_t begin,
                   int64_t count, std::span<float* const> sums);

}  // namespace elrea
