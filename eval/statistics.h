// Uncertainty of an evaluation: Wilson intervals of proportions, and a paired bootstrap of the difference of
// two methods that answered the same rows.
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

struct Interval {
  double low = 0, high = 0;
};

// 95% score interval of a proportion (Wilson 1927), which stays inside [0, 1] and is sound for few rows.
// {0, 1} for n = 0.
Interval WilsonInterval(int64_t successes, int64_t n);

struct Estimate {
  double mean = 0;
  Interval interval;  // 95%
};

// Mean over groups of the mean within each group (one group: a plain mean), with the percentile interval of
// `samples` bootstrap draws that resample values inside their group. Paired differences as values make it a
// paired bootstrap. A function of its arguments only. REQUIRES: no group is empty.
Estimate BootstrapMean(const std::vector<std::vector<double>>& groups, int64_t samples, uint64_t seed);

}  // namespace elrea
