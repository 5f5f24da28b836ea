#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"

namespace elrea {
namespace {

constexpr double kZ95 = 1.959963984540054;  // 97.5% quantile of the standard normal

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The value below which a share `q` of the sorted draws lies, interpolated.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// The 95% percentile interval of what was drawn; of `mean` alone where nothing was.
Interval PercentileInterval(std::vector<double> draws, double mean) {
  if (draws.empty()) return {mean, mean};
  std::sort(draws.begin(), draws.end());
  return {Quantile(draws, 0.025), Quantile(draws, 0.975)};
}

}  // namespace

Interval WilsonInterval(int64_t successes, int64_t n) {
  if (n == 0) return {0, 1};
  const auto count = static_cast<double>(n);
  const double p = static_cast<double>(successes) / count, z2 = kZ95 * kZ95;
  const double center = (p + z2 / (2 * count)) / (1 + z2 / count);
  const double half = kZ95 / (1 + z2 / count) * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
  // At 0 and n the bounds are exact in the formula but not in floating point.
  return {successes == 0 ? 0.0 : std::max(0.0, center - half),
          successes == n ? 1.0 : std::min(1.0, center + half)};
}

Estimate BootstrapMean(const std::vector<std::vector<double>>& groups, int64_t samples, uint64_t seed) {
  Estimate estimate;
  const auto num_groups = static_cast<double>(groups.size());
  for (const auto& group : groups) estimate.mean += Mean(group) / num_groups;
  std::vector<double> draws;
  for (int64_t sample = 0; sample < samples; ++sample) {
    Rng rng(seed, static_cast<uint64_t>(sample));
    double mean = 0;
    for (const auto& group : groups) {
      double sum = 0;
      for (size_t i = 0; i < group.size(); ++i) sum += group[rng.Below(group.size())];
      mean += sum / static_cast<double>(group.size()) / num_groups;
    }
    draws.push_back(mean);
  }
  estimate.interval = PercentileInterval(std::move(draws), estimate.mean);
  return estimate;
}

Estimate BootstrapRatio(const std::vector<double>& changes, const std::vector<double>& references, int64_t samples,
                        uint64_t seed) {
  Estimate estimate;
  estimate.mean = Mean(changes) / Mean(references);
  std::vector<double> draws;
  for (int64_t sample = 0; sample < samples; ++sample) {
    Rng rng(seed, static_cast<uint64_t>(sample));
    double change = 0, reference = 0;
    for (size_t i = 0; i < changes.size(); ++i) {
      const uint64_t row = rng.Below(changes.size());
      change += changes[row];
      reference += references[row];
    }
    if (reference > 0) draws.push_back(change / reference);
  }
  estimate.interval = PercentileInterval(std::move(draws), estimate.mean);
  return estimate;
}

double PermutationPValue(const std::vector<std::vector<double>>& differences, int64_t samples, uint64_t seed) {
  const auto num_groups = static_cast<double>(differences.size());
  double seen = 0;
  for (const auto& group : differences) seen += Mean(group) / num_groups;
  // Sums in another order differ in the last bits; an exchange that ties with what was seen must count.
  const double bar = std::abs(seen) * (1 - 1e-9);
  int64_t as_far = 1;
  for (int64_t sample = 0; sample < samples; ++sample) {
    Rng rng(seed, static_cast<uint64_t>(sample));
    double mean = 0;
    for (const auto& group : differences) {
      double sum = 0;
      for (double difference : group) sum += (rng.Bits() >> 63) != 0 ? difference : -difference;
      mean += sum / static_cast<double>(group.size()) / num_groups;
    }
    as_far += std::abs(mean) >= bar;
  }
  return static_cast<double>(as_far) / static_cast<double>(samples + 1);
}

}  // namespace elrea
