#include "ensemble/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "model/simd_range.h"

namespace elrea {

namespace {

// sum of exp((x - top) * scale), sixteen at a time.
double SumOfExponentials(std::span<const float> logits, float top, float scale) {
  size_t i = 0;
  simd::Vec sums = simd::Splat(0);
  for (; i + simd::kLanes <= logits.size(); i += simd::kLanes)
    sums += simd::Exp((simd::Load(&logits[i]) - top) * scale);
  double sum = simd::Sum(sums);
  for (; i < logits.size(); ++i) sum += std::exp(static_cast<double>((logits[i] - top) * scale));
  return sum;
}

float LogSumOfExponentials(std::span<const float> logits) {
  const float top = simd::Largest(logits);
  return top + static_cast<float>(std::log(SumOfExponentials(logits, top, 1)));
}

// Token ids, likeliest first. Sorting the whole vocabulary would cost more than the decoding step, and a draw seldom
// looks far: the order is made in batches, as far as it is asked for.
class LikeliestFirst {
 public:
  explicit LikeliestFirst(std::span<const float> logits) : logits_(logits), ids_(logits.size()) {
    std::iota(ids_.begin(), ids_.end(), 0);
  }
  int32_t operator[](size_t i) {
    while (i >= sorted_) SortMore();
    return ids_[i];
  }

 private:
  void SortMore() {
    const size_t end = std::min(ids_.size(), sorted_ == 0 ? size_t{64} : sorted_ * 8);
    std::partial_sort(ids_.begin() + static_cast<int64_t>(sorted_), ids_.begin() + static_cast<int64_t>(end), ids_.end(),
                      [&](int32_t a, int32_t b) {
                        return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
                      });
    sorted_ = end;
  }
  std::span<const float> logits_;
  std::vector<int32_t> ids_;
  size_t sorted_ = 0;
};

// How many of the likeliest tokens may be drawn, and what their probabilities sum to; probabilities are in units of the
// likeliest token's, so that min_p is a plain bound.
struct Candidates {
  size_t count;
  double mass;
};

Candidates Shortlist(std::span<const float> logits, float top, LikeliestFirst& order, const SamplingOptions& o) {
  const auto probability = [&](int32_t id) { return std::exp(static_cast<double>(logits[id] - top) / o.temperature); };
  Candidates c{logits.size(), 0};
  if (o.top_k > 0) c.count = std::min(c.count, static_cast<size_t>(o.top_k));
  double total = 0;
  if (c.count < logits.size()) {
    for (size_t i = 0; i < c.count; ++i) total += probability(order[i]);
  } else {
    total = SumOfExponentials(logits, top, static_cast<float>(std::min(1 / o.temperature, 1e30)));
  }
  if (o.top_p >= 1 && o.min_p <= 0) return {c.count, total};
  size_t within = 0;
  while (within < c.count && (within == 0 || c.mass < o.top_p * total)) {
    const double p = probability(order[within]);
    if (within > 0 && p < o.min_p) break;
    c.mass += p;
    ++within;
  }
  return {within, c.mass};
}

int32_t Draw(std::span<const float> logits, const SamplingOptions& o, double uniform) {
  const float top = simd::Largest(logits);
  LikeliestFirst order(logits);
  const Candidates c = Shortlist(logits, top, order, o);
  double left = uniform * c.mass;
  size_t i = 0;
  for (; i + 1 < c.count; ++i) {
    const double p = std::exp(static_cast<double>(logits[order[i]] - top) / o.temperature);
    if (left < p) break;
    left -= p;
  }
  return order[i];
}

int32_t Best(std::span<const float> logits) {
  return static_cast<int32_t>(std::find(logits.begin(), logits.end(), simd::Largest(logits)) - logits.begin());
}

}  // namespace

void TokenBias::Count(int32_t token) {
  if (presence_ == 0 && frequency_ == 0) return;
  if (counts_[token]++ == 0) amounts_[token] -= presence_;
  amounts_[token] -= frequency_;
}

SampledToken SampleToken(std::span<const float> logits, const SamplingOptions& o, uint64_t stream, uint64_t step,
                         const TokenBias& bias) {
  std::vector<float> biased;
  std::span<const float> drawn_from = logits;
  if (!bias.empty()) {
    biased.assign(logits.begin(), logits.end());
    for (const auto& [token, amount] : bias.amounts()) biased[static_cast<size_t>(token)] += amount;
    drawn_from = biased;
  }
  const int32_t token = o.temperature > 0
                            ? Draw(drawn_from, o, RandomUniform(static_cast<uint64_t>(o.seed), stream, step))
                            : Best(drawn_from);
  return {token, logits[static_cast<size_t>(token)] - LogSumOfExponentials(logits)};
}

std::vector<SampledToken> LikeliestTokens(std::span<const float> logits, int64_t count) {
  const float norm = LogSumOfExponentials(logits);
  LikeliestFirst order(logits);
  std::vector<SampledToken> tokens;
  for (size_t i = 0; i < std::min(logits.size(), static_cast<size_t>(count)); ++i) {
    tokens.push_back({order[i], logits[static_cast<size_t>(order[i])] - norm});
  }
  return tokens;
}

}  // namespace elrea
