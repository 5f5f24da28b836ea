// Vectors through the compiler's vector extension: it maps them to whatever the target has (AVX-512, AVX2,
// NEON), and the lane-wise order of additions is the same on all of them.
#include "cluster/vector_math.h"

#include <cstring>

namespace elrea {
namespace {

constexpr int64_t kLanes = 8;
constexpr int64_t kBlock = 256;  // elements: 16 products a lane are summed in float, the blocks in double
using WideLanes = float __attribute__((vector_size(64), aligned(4), may_alias));
using FloatLanes = float __attribute__((vector_size(32), aligned(4), may_alias));
using DoubleLanes = double __attribute__((vector_size(64)));

// Vectors go by reference: passing them by value has a different ABI where the target lacks such registers.
const FloatLanes& At(const float* p) { return *reinterpret_cast<const FloatLanes*>(p); }

void AddProduct(const float* a, const float* b, DoubleLanes& sum) {
  sum += __builtin_convertvector(At(a), DoubleLanes) * __builtin_convertvector(At(b), DoubleLanes);
}

// Converting every element to double would take longer than reading it from the second cache.
void AddBlockProduct(const float* a, const float* b, DoubleLanes& sum) {
  constexpr int64_t kWide = 2 * kLanes;
  const auto wide = [](const float* p) -> const WideLanes& { return *reinterpret_cast<const WideLanes*>(p); };
  WideLanes s0 = wide(a) * wide(b), s1 = wide(a + kWide) * wide(b + kWide);
  WideLanes s2 = wide(a + 2 * kWide) * wide(b + 2 * kWide), s3 = wide(a + 3 * kWide) * wide(b + 3 * kWide);
  for (int64_t i = 4 * kWide; i < kBlock; i += 4 * kWide) {
    s0 += wide(a + i) * wide(b + i);
    s1 += wide(a + i + kWide) * wide(b + i + kWide);
    s2 += wide(a + i + 2 * kWide) * wide(b + i + 2 * kWide);
    s3 += wide(a + i + 3 * kWide) * wide(b + i + 3 * kWide);
  }
  float lanes[kWide];
  const WideLanes total = (s0 + s1) + (s2 + s3);
  std::memcpy(lanes, &total, sizeof lanes);
  sum += __builtin_convertvector(At(lanes), DoubleLanes) +
         __builtin_convertvector(At(lanes + kLanes), DoubleLanes);
}

void AddSquaredDifference(const float* a, const float* b, DoubleLanes& sum) {
  const DoubleLanes difference =
      __builtin_convertvector(At(a), DoubleLanes) - __builtin_convertvector(At(b), DoubleLanes);
  sum += difference * difference;
}

double SumLanes(const DoubleLanes& v) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

}  // namespace

double Dot(const float* a, const float* b, int64_t dim) {
  DoubleLanes sum = {};
  int64_t i = 0;
  for (; i + kBlock <= dim; i += kBlock) AddBlockProduct(a + i, b + i, sum);
  for (; i + kLanes <= dim; i += kLanes) AddProduct(a + i, b + i, sum);
  double tail = 0;
  for (; i < dim; ++i) tail += static_cast<double>(a[i]) * b[i];
  return SumLanes(sum) + tail;
}

void DotRows(const float* rows, int64_t count, const float* x, int64_t dim, double* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Dot(rows + i * dim, x, dim);
}

double SquaredDistance(const float* a, const float* b, int64_t dim) {
  DoubleLanes s0 = {}, s1 = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= dim; i += 2 * kLanes) {
    AddSquaredDifference(a + i, b + i, s0);
    AddSquaredDifference(a + i + kLanes, b + i + kLanes, s1);
  }
  double tail = 0;
  for (; i < dim; ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    tail += difference * difference;
  }
  const DoubleLanes sum = s0 + s1;
  return SumLanes(sum) + tail;
}

}  // namespace elrea
