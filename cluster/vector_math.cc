// Eight-lane vectors through the compiler's vector extension: it maps them to whatever the target has
// (AVX-512, AVX2, NEON), and the lane-wise order of additions is the same on all of them. At the sizes that
// matter the rows come from memory, so sums in double cost nothing over sums in float.
#include "cluster/vector_math.h"

#include <cstring>

namespace elrea {
namespace {

using FloatLanes = float __attribute__((vector_size(32)));
using DoubleLanes = double __attribute__((vector_size(64)));
constexpr int64_t kLanes = 8;

DoubleLanes Load(const float* p) {
  FloatLanes v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, DoubleLanes);
}

double SumLanes(const DoubleLanes& v) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

}  // namespace

double Dot(const float* a, const float* b, int64_t dim) {
  DoubleLanes s0 = {}, s1 = {}, s2 = {}, s3 = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    s0 += Load(a + i) * Load(b + i);
    s1 += Load(a + i + kLanes) * Load(b + i + kLanes);
    s2 += Load(a + i + 2 * kLanes) * Load(b + i + 2 * kLanes);
    s3 += Load(a + i + 3 * kLanes) * Load(b + i + 3 * kLanes);
  }
  for (; i + kLanes <= dim; i += kLanes) s0 += Load(a + i) * Load(b + i);
  double tail = 0;
  for (; i < dim; ++i) tail += static_cast<double>(a[i]) * b[i];
  return SumLanes((s0 + s1) + (s2 + s3)) + tail;
}

void DotRows(const float* rows, int64_t count, const float* x, int64_t dim, double* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Dot(rows + i * dim, x, dim);
}

double SquaredDistance(const float* a, const float* b, int64_t dim) {
  DoubleLanes s0 = {}, s1 = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= dim; i += 2 * kLanes) {
    const DoubleLanes d0 = Load(a + i) - Load(b + i), d1 = Load(a + i + kLanes) - Load(b + i + kLanes);
    s0 += d0 * d0;
    s1 += d1 * d1;
  }
  double tail = 0;
  for (; i < dim; ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    tail += difference * difference;
  }
  return SumLanes(s0 + s1) + tail;
}

}  // namespace elrea
