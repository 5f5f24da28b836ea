// Both paths add the same floats in the same order, so they agree bit for bit: a sign is an exclusive or on
// the sign bit, and nothing is multiplied before Finish.
#include "features/projection.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace elrea {
namespace {

void CheckAtLeast(const char* name, int64_t value, int64_t least) {
  if (value >= least) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("projection: {} is {}, but must be at least {}", name, value, least));
}

float WithSign(float value, uint64_t bits, int64_t lane) { return (bits >> lane) & 1 ? -value : value; }

}  // namespace

RandomProjection::RandomProjection(uint64_t seed, int64_t num_inputs, int64_t d_proj, int64_t repetitions)
    : seed_(seed), num_inputs_(num_inputs), d_proj_(d_proj), repetitions_(repetitions) {
  CheckAtLeast("number of inputs", num_inputs, 1);
  CheckAtLeast("d_proj", d_proj, kLanes);
  CheckAtLeast("repetitions", repetitions, 1);
  scale_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(kBlockVectors * repetitions)));
  for (int64_t r = 0; r < repetitions; ++r) {
    stream_seeds_.push_back(MixBits(seed + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(r + 1)));
  }
}

// Calls add_block(256 floats, index of its first vector) for every block; the last one is filled up with
// zeros.
template <typename AddBlockFunction>
void RandomProjection::ForEachBlock(const float* x, int64_t begin, int64_t count,
                                    AddBlockFunction add_block) const {
  int64_t done = 0;
  for (; done + kVector <= count; done += kVector) add_block(x + done, (begin + done) / kLanes);
  if (done == count) return;
  alignas(64) float last[kVector] = {};
  std::copy(x + done, x + count, last);
  add_block(last, (begin + done) / kLanes);
}

void RandomProjection::Accumulate(const float* x, int64_t begin, int64_t count, float* sum) const {
  ForEachBlock(x, begin, count, [&](const float* block, int64_t first) { AddBlock(block, first, sum); });
}

void RandomProjection::AccumulatePortable(const float* x, int64_t begin, int64_t count, float* sum) const {
  ForEachBlock(x, begin, count,
               [&](const float* block, int64_t first) { AddBlockPortable(block, first, sum); });
}

void RandomProjection::AddBlock(const float* block, int64_t first_vector, float* sum) const {
#ifdef __AVX512F__
  const __m512i sign_bit = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  const auto with_signs = [&](__m512 value, uint64_t bits) {
    const __m512i raw = _mm512_castps_si512(value);
    return _mm512_castsi512_ps(_mm512_mask_xor_epi32(raw, static_cast<__mmask16>(bits), raw, sign_bit));
  };
  uint64_t hashes[kBlockVectors];
  for (int64_t j = 0; j < kBlockVectors; ++j) hashes[j] = Hash(0, first_vector + j);
  __m512 mixed[kBlockVectors];  // all 16 in registers
#pragma GCC unroll 16
  for (int64_t j = 0; j < kBlockVectors; ++j) {
    mixed[j] = with_signs(_mm512_loadu_ps(block + j * kLanes), hashes[j] >> 16);
  }
#pragma GCC unroll 4
  for (int64_t stride = 1; stride < kBlockVectors; stride *= 2) {
#pragma GCC unroll 16
    for (int64_t j = 0; j < kBlockVectors; ++j) {
      if (j & stride) continue;
      const __m512 a = mixed[j], b = mixed[j + stride];
      mixed[j] = _mm512_add_ps(a, b);
      mixed[j + stride] = _mm512_sub_ps(a, b);
    }
  }
  for (int64_t r = 0; r < repetitions_; ++r) {
#pragma GCC unroll 16
    for (int64_t j = 0; j < kBlockVectors; ++j) {
      const uint64_t hash = r == 0 ? hashes[j] : Hash(r, first_vector + j);
      float* target = sum + Offset(hash);
      _mm512_storeu_ps(target, _mm512_add_ps(_mm512_loadu_ps(target), with_signs(mixed[j], hash)));
    }
  }
#else
  AddBlockPortable(block, first_vector, sum);
#endif
}

void RandomProjection::AddBlockPortable(const float* block, int64_t first_vector, float* sum) const {
  float mixed[kVector];
  for (int64_t j = 0; j < kBlockVectors; ++j) {
    const uint64_t signs = Hash(0, first_vector + j) >> 16;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      mixed[j * kLanes + lane] = WithSign(block[j * kLanes + lane], signs, lane);
    }
  }
  for (int64_t stride = kLanes; stride < kVector; stride *= 2) {
    for (int64_t i = 0; i < kVector; ++i) {
      if (i & stride) continue;
      const float a = mixed[i], b = mixed[i + stride];
      mixed[i] = a + b;
      mixed[i + stride] = a - b;
    }
  }
  for (int64_t r = 0; r < repetitions_; ++r) {
    for (int64_t j = 0; j < kBlockVectors; ++j) {
      const uint64_t hash = Hash(r, first_vector + j);
      float* target = sum + Offset(hash);
      for (int64_t lane = 0; lane < kLanes; ++lane)
        target[lane] += WithSign(mixed[j * kLanes + lane], hash, lane);
    }
  }
}

void RandomProjection::Finish(const float* sum, float* out) const {
  std::copy(sum, sum + d_proj_, out);
  for (int64_t i = 0; i < kLanes; ++i) out[i] += sum[d_proj_ + i];
  for (int64_t i = 0; i < d_proj_; ++i) out[i] *= scale_;
}

// Entry (j, k) of the Hadamard matrix is -1 to the number of ones that j and k have in common.
std::vector<RandomProjection::Cell> RandomProjection::Column(int64_t input) const {
  const int64_t vector_idx = input / kLanes, lane = input % kLanes;
  const int64_t first_vector = input / kVector * kBlockVectors;
  const float value = WithSign(scale_, Hash(0, vector_idx) >> 16, lane);
  std::vector<Cell> cells;
  for (int64_t r = 0; r < repetitions_; ++r) {
    for (int64_t j = 0; j < kBlockVectors; ++j) {
      const uint64_t hash = Hash(r, first_vector + j);
      const bool negative = std::popcount(static_cast<uint64_t>(j & (vector_idx - first_vector))) % 2 == 1;
      cells.push_back({(Offset(hash) + lane) % d_proj_, WithSign(negative ? -value : value, hash, lane)});
    }
  }
  return cells;
}

void AccumulateAll(std::span<const RandomProjection> projections, const float* x, int64_t begin,
                   int64_t count, std::span<float* const> sums) {
  constexpr int64_t kBlock = 2048;  // floats that stay in the nearest cache
  for (int64_t done = 0; done < count; done += kBlock) {
    const int64_t length = std::min(kBlock, count - done);
    for (size_t i = 0; i < projections.size(); ++i) {
      projections[i].Accumulate(x + done, begin + done, length, sums[i]);
    }
  }
}

}  // namespace elrea
