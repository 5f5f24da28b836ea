#include "ensemble/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "model/simd.h"

namespace elrea {

namespace {

// Token ids that may be drawn, likeliest first, with their probabilities at the temperature.
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<double> probabilities;
};

Candidates Shortlist(std::span<const float> logits, float top, const SamplingOptions& o) {
  Candidates c;
  c.ids.resize(logits.size());
  std::iota(c.ids.begin(), c.ids.end(), 0);
  auto likelier = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  size_t keep = o.top_k > 0 ? std::min(c.ids.size(), static_cast<size_t>(o.top_k)) : c.ids.size();
  std::partial_sort(c.ids.begin(), c.ids.begin() + static_cast<int64_t>(keep), c.ids.end(), likelier);
  c.ids.resize(keep);
  double total = 0;
  for (int32_t id : c.ids)
    total += c.probabilities.emplace_back(std::exp((logits[id] - top) / o.temperature));
  double seen = 0;
  size_t within = 0;
  while (within < keep && (within == 0 || seen < o.top_p * total)) seen += c.probabilities[within++];
  c.ids.resize(within);
  c.probabilities.resize(within);
  return c;
}

}  // namespace

namespace {

// The vocabulary is read twice for each token: sixteen at a time.
float Largest(std::span<const float> logits) {
  size_t i = 0;
  simd::Vec best = simd::Splat(logits[0]);
  for (; i + simd::kLanes <= logits.size(); i += simd::kLanes) {
    const simd::Vec x = simd::Load(&logits[i]);
    best = x > best ? x : best;
  }
  float top = simd::Max(best);
  for (; i < logits.size(); ++i) top = std::max(top, logits[i]);
  return top;
}

// sum of exp(x - top).
double SumOfExponentials(std::span<const float> logits, float top) {
  size_t i = 0;
  simd::Vec sums = simd::Splat(0);
  for (; i + simd::kLanes <= logits.size(); i += simd::kLanes)
    sums += simd::Exp(simd::Load(&logits[i]) - top);
  double sum = simd::Sum(sums);
  for (; i < logits.size(); ++i) sum += std::exp(static_cast<double>(logits[i] - top));
  return sum;
}

}  // namespace

SampledToken SampleToken(std::span<const float> logits, const SamplingOptions& o, uint64_t stream,
                         uint64_t step) {
  const float top = Largest(logits);
  const double sum = SumOfExponentials(logits, top);
  auto token = static_cast<int32_t>(std::find(logits.begin(), logits.end(), top) - logits.begin());
  if (o.temperature > 0) {
    Candidates c = Shortlist(logits, top, o);
    double total = std::accumulate(c.probabilities.begin(), c.probabilities.end(), 0.0);
    double draw = RandomUniform(static_cast<uint64_t>(o.seed), stream, step) * total;
    size_t i = 0;
    while (i + 1 < c.ids.size() && draw >= c.probabilities[i]) draw -= c.probabilities[i++];
    token = c.ids[i];
  }
  return {token, static_cast<float>(logits[token] - top - std::log(sum))};
}

}  // namespace elrea
