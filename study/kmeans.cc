#include "study/kmeans.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cluster/vector_math.h"
#include "core/error.h"
#include "core/rng.h"

namespace elrea {
namespace {

// Each further center is a row drawn with a chance proportional to its squared distance to the nearest one so
// far.
std::vector<float> PlusPlusCenters(const KMeansOptions& options, RowMatrix rows, Rng& rng) {
  std::vector<float> centers;
  std::vector<double> nearest(static_cast<size_t>(rows.rows), std::numeric_limits<double>::infinity());
  auto chosen = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(rows.rows)));
  for (int64_t c = 0;; ++c) {
    const auto center = rows.row(chosen);
    centers.insert(centers.end(), center.begin(), center.end());
    if (c + 1 == options.num_clusters) return centers;
    double total = 0;
    for (int64_t i = 0; i < rows.rows; ++i) {
      nearest[i] = std::min(nearest[i], SquaredDistance(rows.row(i).data(), center.data(), rows.dim));
      total += nearest[i];
    }
    double at = rng.Uniform() * total;
    chosen = rows.rows - 1;
    for (int64_t i = 0; i < rows.rows; ++i) {
      at -= nearest[i];
      if (at < 0) {
        chosen = i;
        break;
      }
    }
  }
}

// Labels of the nearest centers; true when any changed.
bool Assign(RowMatrix rows, const std::vector<float>& centers, int64_t count, KMeansResult& result) {
  bool changed = false;
  result.sum_of_squares = 0;
  for (int64_t i = 0; i < rows.rows; ++i) {
    double best = std::numeric_limits<double>::infinity();
    int64_t label = 0;
    for (int64_t c = 0; c < count; ++c) {
      const double distance = SquaredDistance(rows.row(i).data(), centers.data() + c * rows.dim, rows.dim);
      if (distance < best) {
        best = distance;
        label = c;
      }
    }
    changed |= result.labels[i] != label;
    result.labels[i] = label;
    result.sum_of_squares += best;
  }
  return changed;
}

// A center without rows stays where it is.
void MoveCenters(RowMatrix rows, const std::vector<int64_t>& labels, std::vector<float>& centers) {
  const auto count = static_cast<int64_t>(centers.size()) / rows.dim;
  std::vector<double> sums(centers.size(), 0);
  std::vector<int64_t> sizes(static_cast<size_t>(count), 0);
  for (int64_t i = 0; i < rows.rows; ++i) {
    ++sizes[labels[i]];
    for (int64_t d = 0; d < rows.dim; ++d) sums[labels[i] * rows.dim + d] += rows.row(i)[d];
  }
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t d = 0; sizes[c] > 0 && d < rows.dim; ++d) {
      centers[c * rows.dim + d] = static_cast<float>(sums[c * rows.dim + d] / static_cast<double>(sizes[c]));
    }
  }
}

}  // namespace

KMeansResult KMeans(const KMeansOptions& options, RowMatrix rows) {
  if (rows.rows < options.num_clusters || options.num_clusters < 1) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("K-means: {} rows cannot form {} clusters; lower cluster.birch.num_clusters",
                            rows.rows, options.num_clusters));
  }
  KMeansResult best;
  best.sum_of_squares = std::numeric_limits<double>::infinity();
  for (int64_t restart = 0; restart < options.restarts; ++restart) {
    Rng rng(options.seed, static_cast<uint64_t>(restart));
    std::vector<float> centers = PlusPlusCenters(options, rows, rng);
    KMeansResult result{std::vector<int64_t>(static_cast<size_t>(rows.rows), -1), 0};
    for (int64_t step = 0; step < options.max_steps && Assign(rows, centers, options.num_clusters, result);
         ++step) {
      MoveCenters(rows, result.labels, centers);
    }
    if (result.sum_of_squares < best.sum_of_squares) best = std::move(result);
  }
  return best;
}

}  // namespace elrea
