// Nearest-neighbour chain (Murtagh 1983): follow nearest neighbours until two clusters are each other's
// nearest, merge them, go on from what is left of the chain. Ties go to the earlier cluster, or to the
// previous one of the chain, as in SciPy, so equal input gives equal trees.
#include "cluster/ward.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "cluster/row_products.h"

namespace elrea {
namespace {

// Squared distances between live clusters, which are named by one of their rows.
class WardDistances {
 public:
  explicit WardDistances(RowMatrix rows)
      : distances_(PairwiseSquaredDistances(rows)), sizes_(rows.rows, 1), live_(rows.rows) {
    std::iota(live_.begin(), live_.end(), 0);
  }

  const std::vector<int64_t>& live() const { return live_; }
  double operator()(int64_t a, int64_t b) const { return distances_[Index(a, b)]; }

  // The live cluster nearest to `x`; `preferred` (or -1) wins ties.
  int64_t Nearest(int64_t x, int64_t preferred) const {
    int64_t nearest = preferred;
    double smallest = preferred < 0 ? std::numeric_limits<double>::infinity() : (*this)(x, preferred);
    for (int64_t i : live_) {
      if (i == x) continue;
      const double distance = distances_[Index(i, x)];
      if (distance < smallest || nearest < 0) {
        smallest = distance;
        nearest = i;
      }
    }
    return nearest;
  }

  // `y` becomes the union of `x` and `y`. With sizes n and t = n_x + n_y + n_i (Lance-Williams):
  //   d^2(i, x u y) = ((n_i + n_x) d^2(i, x) + (n_i + n_y) d^2(i, y) - n_i d^2(x, y)) / t.
  void Merge(int64_t x, int64_t y) {
    const double between = (*this)(x, y);
    const double size_x = static_cast<double>(sizes_[x]), size_y = static_cast<double>(sizes_[y]);
    live_.erase(std::lower_bound(live_.begin(), live_.end(), x));
    for (int64_t i : live_) {
      if (i == y) continue;
      const double size = static_cast<double>(sizes_[i]);
      double& to_union = distances_[Index(i, y)];
      to_union = ((size + size_x) * (*this)(i, x) + (size + size_y) * to_union - size * between) /
                 (size_x + size_y + size);
    }
    sizes_[y] += sizes_[x];
  }

 private:
  static int64_t Index(int64_t a, int64_t b) { return a > b ? a * (a - 1) / 2 + b : b * (b - 1) / 2 + a; }

  std::vector<double> distances_;
  std::vector<int64_t> sizes_;
  std::vector<int64_t> live_;  // ascending
};

// Renames clusters from rows to numbers of merges (union-find with path halving).
void NumberClusters(std::vector<WardMerge>& merges) {
  const int64_t rows = static_cast<int64_t>(merges.size()) + 1;
  std::vector<int64_t> parent(2 * rows - 1);
  std::iota(parent.begin(), parent.end(), 0);
  const auto root = [&](int64_t node) {
    while (parent[node] != node) node = parent[node] = parent[parent[node]];
    return node;
  };
  for (size_t k = 0; k < merges.size(); ++k) {
    const auto [first, second] = std::minmax({root(merges[k].first), root(merges[k].second)});
    merges[k].first = first;
    merges[k].second = second;
    parent[first] = parent[second] = rows + static_cast<int64_t>(k);
  }
}

}  // namespace

std::vector<WardMerge> WardTree(RowMatrix rows) {
  WardDistances distances(rows);
  std::vector<WardMerge> merges;
  std::vector<int64_t> chain;
  while (distances.live().size() > 1) {
    if (chain.empty()) chain.push_back(distances.live().front());
    while (true) {
      const int64_t previous = chain.size() > 1 ? chain[chain.size() - 2] : -1;
      const int64_t nearest = distances.Nearest(chain.back(), previous);
      if (nearest == previous) break;
      chain.push_back(nearest);
    }
    const auto [first, second] = std::minmax({chain.back(), chain[chain.size() - 2]});
    chain.resize(chain.size() - 2);
    merges.push_back({first, second, std::sqrt(std::max(0.0, distances(first, second)))});
    distances.Merge(first, second);
  }
  std::stable_sort(merges.begin(), merges.end(),
                   [](const WardMerge& a, const WardMerge& b) { return a.distance < b.distance; });
  NumberClusters(merges);
  return merges;
}

std::vector<int64_t> CutTree(const std::vector<WardMerge>& merges, int64_t num_clusters) {
  const int64_t rows = static_cast<int64_t>(merges.size()) + 1;
  // Undoes the latest merge in force, num_clusters - 1 times. A cluster's label is its place in this heap:
  // that is how scikit-learn numbers them.
  std::vector<int64_t> nodes = {2 * rows - 2};
  for (int64_t k = 1; k < num_clusters; ++k) {
    const WardMerge& merge = merges[nodes.front() - rows];
    nodes.push_back(merge.first);
    std::push_heap(nodes.begin(), nodes.end());
    nodes.push_back(merge.second);  // takes the place of the undone merge, at the top
    std::pop_heap(nodes.begin(), nodes.end());
    nodes.pop_back();
  }
  std::vector<int64_t> labels(2 * rows - 1, -1);
  for (size_t i = 0; i < nodes.size(); ++i) labels[nodes[i]] = static_cast<int64_t>(i);
  for (int64_t k = rows - 2; k >= 0; --k) {
    if (labels[rows + k] < 0) continue;
    labels[merges[k].first] = labels[merges[k].second] = labels[rows + k];
  }
  labels.resize(rows);
  return labels;
}

}  // namespace elrea
