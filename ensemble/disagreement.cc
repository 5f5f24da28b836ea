#include "ensemble/disagreement.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace elrea {
namespace {

// Adds share * softmax(logits) to the mixture; the entropy of softmax(logits).
double AddDistribution(std::span<const float> logits, double share, std::vector<double>& mixture) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0, weighted = 0;  // of e^x, of x e^x, for x = logit - top
  std::vector<double> powers(logits.size());
  for (size_t v = 0; v < logits.size(); ++v) {
    const double x = logits[v] - top;
    powers[v] = std::exp(x);
    sum += powers[v];
    weighted += x * powers[v];
  }
  for (size_t v = 0; v < logits.size(); ++v) mixture[v] += share * powers[v] / sum;
  return std::log(sum) - weighted / sum;
}

}  // namespace

double MutualInformation(std::span<const std::span<const float>> logits, std::span<const double> weights) {
  if (logits.size() < 2) return 0;
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> mixture(logits[0].size());
  double mean_entropy = 0;
  for (size_t k = 0; k < logits.size(); ++k) {
    const double share = weights[k] / total;
    mean_entropy += share * AddDistribution(logits[k], share, mixture);
  }
  double entropy = 0;
  for (const double p : mixture) entropy -= p > 0 ? p * std::log(p) : 0;
  return std::max(0.0, entropy - mean_entropy);  // below zero by rounding only
}

}  // namespace elrea
