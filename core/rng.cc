// Sequential draws on top of the counter-based generator: normals, bounded integers, permutations, samples.
#include "core/rng.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "core/error.h"

namespace elrea {

// The second Box-Muller variate is dropped rather than cached, so that the state of an Rng is its index
// alone.
double Rng::Normal() {
  const double radius_uniform = 1.0 - Uniform();  // (0, 1]: the logarithm stays finite
  const double angle = 2.0 * std::numbers::pi * Uniform();
  return std::sqrt(-2.0 * std::log(radius_uniform)) * std::cos(angle);
}

// Lemire's multiply-shift with rejection of the biased low products ("Fast Random Integer Generation in an
// Interval", 2019).
uint64_t Rng::Below(uint64_t bound) {
  using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(Bits()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t num_biased = (0 - bound) % bound;  // 2^64 mod bound
    while (static_cast<uint64_t>(product) < num_biased) {
      product = static_cast<Wide>(Bits()) * bound;
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

std::vector<int64_t> RandomPermutation(int64_t n, uint64_t seed, uint64_t stream) {
  if (n < 0) {
    throw Error(ErrorKind::kInternal, fmt::format("RandomPermutation of {} items", n));
  }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng rng(seed, stream);
  for (int64_t i = n - 1; i > 0; --i) {
    const auto other = rng.Below(static_cast<uint64_t>(i) + 1);
    std::swap(order[static_cast<size_t>(i)], order[other]);
  }
  return order;
}

// Floyd's algorithm: k draws and O(k) memory whatever n is.
std::vector<int64_t> RandomSample(int64_t n, int64_t k, uint64_t seed, uint64_t stream) {
  if (k < 0 || k > n) {
    throw Error(ErrorKind::kInternal, fmt::format("RandomSample of {} from {} items", k, n));
  }
  std::set<int64_t> chosen;
  Rng rng(seed, stream);
  for (int64_t last = n - k; last < n; ++last) {
    const auto drawn = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(last) + 1));
    if (!chosen.insert(drawn).second) {
      chosen.insert(last);
    }
  }
  return {chosen.begin(), chosen.end()};
}

}  // namespace elrea
