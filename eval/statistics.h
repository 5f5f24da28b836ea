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

// sum(changes) / sum(references), a relative gain, with the percentile interval of `samples` bootstrap draws of rows (both
// values of a row together). A draw whose references sum to zero has no ratio and is left out. A function of its arguments
// only. REQUIRES: equal sizes; the references, none negative, sum to more than zero.
Estimate BootstrapRatio(const std::vector<double>& changes, const std::vector<double>& references, int64_t samples,
                        uint64_t seed);

// Two-sided p-value of a paired permutation test: the share of `samples` random exchanges of the two methods' values,
// row by row, whose difference is at least as far from zero as the one seen, the one seen included. Groups are averaged
// as by BootstrapMean. 1 when all differences are zero. A function of its arguments only. REQUIRES: no group is empty.
double PermutationPValue(const std::vector<std::vector<double>>& differences, int64_t samples, uint64_t seed);

}  // namespace elrea
