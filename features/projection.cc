// Both paths add the same floats in the same order, so they agree bit for bit: a sign is an exclusive or on
// the sign bit, and nothing is multiplied before Finish.
#include "features/projection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

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

float WithSign(float value, uint64_t hash, int64_t lane) { return (hash >> lane) & 1 ? -value : value; }

}  // namespace

RandomProjection::RandomProjection(uint64_t seed, int64_t num_inputs, int64_t d_proj, int64_t repetitions)
    : seed_(seed), num_inputs_(num_inputs), d_proj_(d_proj), repetitions_(repetitions) {
  CheckAtLeast("number of inputs", num_inputs, 1);
  CheckAtLeast("d_proj", d_proj, kVector);
  CheckAtLeast("repetitions", repetitions, 1);
  scale_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(repetitions)));
  for (int64_t r = 0; r < repetitions; ++r) {
    stream_seeds_.push_back(MixBits(seed + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(r + 1)));
  }
}

void RandomProjection::Accumulate(const float* x, int64_t begin, int64_t count, float* sum) const {
#ifdef __AVX512F__
  const int64_t num_vectors = count / kVector, first = begin / kVector;
  const __m512i sign_bit = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  for (int64_t i = 0; i < num_vectors; ++i) {
    const __m512i value = _mm512_loadu_si512(x + i * kVector);
    for (int64_t r = 0; r < repetitions_; ++r) {
      const uint64_t hash = Hash(r, first + i);
      const __mmask16 negative = static_cast<__mmask16>(hash);
      float* target = sum + Offset(hash);
      const __m512 term = _mm512_castsi512_ps(_mm512_mask_xor_epi32(value, negative, value, sign_bit));
      _mm512_storeu_ps(target, _mm512_add_ps(_mm512_loadu_ps(target), term));
    }
  }
  AccumulateTail(x + num_vectors * kVector, first + num_vectors, count % kVector, sum);
#else
  AccumulatePortable(x, begin, count, sum);
#endif
}

void RandomProjection::AccumulatePortable(const float* x, int64_t begin, int64_t count, float* sum) const {
  const int64_t first = begin / kVector;
  for (int64_t i = 0; i < count; i += kVector) {
    AccumulateTail(x + i, first + i / kVector, std::min(kVector, count - i), sum);
  }
}

// One vector, of which only `count` coordinates exist.
void RandomProjection::AccumulateTail(const float* x, int64_t vector_idx, int64_t count, float* sum) const {
  for (int64_t r = 0; r < repetitions_ && count > 0; ++r) {
    const uint64_t hash = Hash(r, vector_idx);
    float* target = sum + Offset(hash);
    for (int64_t lane = 0; lane < count; ++lane) target[lane] += WithSign(x[lane], hash, lane);
  }
}

void RandomProjection::Finish(const float* sum, float* out) const {
  std::copy(sum, sum + d_proj_, out);
  for (int64_t i = 0; i < kVector; ++i) out[i] += sum[d_proj_ + i];
  for (int64_t i = 0; i < d_proj_; ++i) out[i] *= scale_;
}

std::vector<RandomProjection::Cell> RandomProjection::Column(int64_t input) const {
  std::vector<Cell> cells;
  for (int64_t r = 0; r < repetitions_; ++r) {
    const uint64_t hash = Hash(r, input / kVector);
    cells.push_back({(Offset(hash) + input % kVector) % d_proj_, WithSign(scale_, hash, input % kVector)});
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
