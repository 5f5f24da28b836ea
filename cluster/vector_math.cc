// Eight-lane vectors through the compiler's vector extension: it maps them to whatever the target has
// (AVX-512, AVX2, NEON), and the lane-wise order of additions is the same on all of them. At the sizes that
// matter the rows come from memory, so sums in double cost nothing over sums in float.
#include "cluster/vector_math.h"

namespace elrea {
namespace {

constexpr int64_t kLanes = 8;
using FloatLanes = float __attribute__((vector_size(32), aligned(4), may_alias));
using DoubleLanes = double __attribute__((vector_size(64)));

// Vectors go by reference: passing them by value has a different ABI where the target lacks such registers.
const FloatLanes& At(const float* p) { return *reinterpret_cast<const FloatLanes*>(p); }

void AddProduct(const float* a, const float* b, DoubleLanes& sum) {
  sum += __builtin_convertvector(At(a), DoubleLanes) * __builtin_convertvector(At(b), DoubleLanes);
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
  DoubleLanes s0 = {}, s1 = {}, s2 = {}, s3 = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    AddProduct(a + i, b + i, s0);
    AddProduct(a + i + kLanes, b + i + kLanes, s1);
    AddProduct(a + i + 2 * kLanes, b + i + 2 * kLanes, s2);
    AddProduct(a + i + 3 * kLanes, b + i + 3 * kLanes, s3);
  }
  for (; i + kLanes <= dim; i += kLanes) AddProduct(a + i, b + i, s0);
  double tail = 0;
  for (; i < dim; ++i) tail += static_cast<double>(a[i]) * b[i];
  const DoubleLanes sum = (s0 + s1) + (s2 + s3);
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
