// p_j|i = exp(-d_ij^2 b_i) / sum_k ..., b_i by bisection so that the entropy is log(perplexity); p_ij =
// (p_j|i + p_i|j) / 2n; q_ij = (1 + |y_i - y_j|^2)^-1 / sum; gradient 4 sum_j (e p_ij - q_ij) (1 + |y_i -
// y_j|^2)^-1 (y_i - y_j), descended with momentum and per-coordinate gains, e = 12 over the first quarter of
// the steps (early exaggeration), else 1.
#include "study/tsne.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/row_products.h"
#include "core/rng.h"

namespace elrea {
namespace {

using Points = std::vector<std::array<double, 2>>;

double SquaredDistanceAt(const std::vector<double>& pairs, int64_t i, int64_t j) {
  if (i < j) std::swap(i, j);
  return pairs[static_cast<size_t>(i * (i - 1) / 2 + j)];
}

// p_j|i of one row [n]; its entropy equals log(perplexity).
void FillConditional(const std::vector<double>& pairs, int64_t n, int64_t i, double perplexity, double* p) {
  double low = 0, high = std::numeric_limits<double>::infinity(), beta = 1;
  for (int step = 0; step < 60; ++step) {
    double sum = 0, weighted = 0;
    for (int64_t j = 0; j < n; ++j) {
      p[j] = j == i ? 0 : std::exp(-beta * SquaredDistanceAt(pairs, i, j));
      sum += p[j];
      if (j != i) weighted += p[j] * SquaredDistanceAt(pairs, i, j);
    }
    sum = std::max(sum, 1e-300);
    const double entropy = std::log(sum) + beta * weighted / sum;
    for (int64_t j = 0; j < n; ++j) p[j] /= sum;
    if (std::abs(entropy - std::log(perplexity)) < 1e-5) return;
    if (entropy > std::log(perplexity)) {
      low = beta;
      beta = std::isinf(high) ? beta * 2 : (beta + high) / 2;
    } else {
      high = beta;
      beta = (beta + low) / 2;
    }
  }
}

// Symmetric p [n * n], sums to 1.
std::vector<double> Affinities(RowMatrix rows, double perplexity) {
  const int64_t n = rows.rows;
  const std::vector<double> pairs = PairwiseSquaredDistances(rows);
  std::vector<double> conditional(static_cast<size_t>(n * n)), p(static_cast<size_t>(n * n));
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; ++i) FillConditional(pairs, n, i, perplexity, conditional.data() + i * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      p[i * n + j] =
          std::max((conditional[i * n + j] + conditional[j * n + i]) / (2 * static_cast<double>(n)), 1e-12);
    }
  }
  return p;
}

Points Gradient(const std::vector<double>& p, const Points& y, double exaggeration) {
  const auto n = static_cast<int64_t>(y.size());
  std::vector<double> kernel(static_cast<size_t>(n * n));  // (1 + |y_i - y_j|^2)^-1
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double dx = y[i][0] - y[j][0], dy = y[i][1] - y[j][1];
      kernel[i * n + j] = i == j ? 0 : 1 / (1 + dx * dx + dy * dy);
      total += kernel[i * n + j];
    }
  }
  Points gradient(y.size(), {0, 0});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double k = kernel[i * n + j];
      const double force = 4 * (exaggeration * p[i * n + j] - std::max(k / total, 1e-12)) * k;
      for (int d : {0, 1}) gradient[i][d] += force * (y[i][d] - y[j][d]);
    }
  }
  return gradient;
}

}  // namespace

Points Tsne(RowMatrix rows, const TsneOptions& options) {
  const int64_t n = rows.rows;
  Points y(static_cast<size_t>(n));
  if (n < 4) {
    for (int64_t i = 0; i < n; ++i) y[i] = {static_cast<double>(i), 0};
    return y;
  }
  const std::vector<double> p =
      Affinities(rows, std::min(options.perplexity, static_cast<double>(n - 1) / 3));
  Rng rng(options.seed, 0);
  for (auto& point : y) point = {1e-2 * rng.Normal(), 1e-2 * rng.Normal()};
  Points velocity(y.size(), {0, 0}), gain(y.size(), {1, 1});
  const double rate = std::max(static_cast<double>(n) / 12 / 4, 50.0);
  for (int64_t step = 0; step < options.steps; ++step) {
    const bool early = step < options.steps / 4;
    const Points gradient = Gradient(p, y, early ? 12 : 1);
    for (int64_t i = 0; i < n; ++i) {
      for (int d : {0, 1}) {
        const bool same_way = (gradient[i][d] > 0) == (velocity[i][d] > 0);
        gain[i][d] = std::max(same_way ? gain[i][d] * 0.8 : gain[i][d] + 0.2, 0.01);
        velocity[i][d] = (early ? 0.5 : 0.8) * velocity[i][d] - rate * gain[i][d] * gradient[i][d];
        y[i][d] += velocity[i][d];
      }
    }
  }
  return y;
}

}  // namespace elrea
