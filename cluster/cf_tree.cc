// Values a decision depends on are kept in float and updated in scikit-learn's order; see the header for why.
// Each node holds the centroids of its entries in one block, so a search is one pass over contiguous memory.
// A single row is its own linear sum and is stored once.
#include "cluster/cf_tree.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cluster/page_vector.h"
#include "cluster/vector_math.h"

namespace elrea {
namespace {

constexpr double kSmallestRadius =
    1e-3;  // of the rows' norm: below it SS / n - |c|^2 is rounding noise in float

}  // namespace

// A clustering feature without its centroid, which lives in the node's block.
struct CfTree::Entry {
  int64_t num_rows = 0;
  float squared_sum = 0;
  std::vector<float> linear_sum;  // empty: one row, equal to the centroid
  std::unique_ptr<Node> child;    // null in leaves
};

struct CfTree::Node {
  bool is_leaf = true;
  int64_t growth = 8;  // entries by which the block of centroids grows
  std::vector<Entry> entries;
  PageVector<float> centroids;       // [entries, dim]
  std::vector<float> squared_norms;  // of the centroids
  Node* prev = nullptr;              // neighbours in the chain of leaves
  Node* next = nullptr;

  int64_t size() const { return static_cast<int64_t>(entries.size()); }

  void Append(Entry entry, const float* centroid, int64_t dim, float squared_norm) {
    if (centroids.size() == centroids.capacity()) centroids.reserve((size() + growth) * dim);
    centroids.insert(centroids.end(), centroid, centroid + dim);
    squared_norms.push_back(squared_norm);
    entries.push_back(std::move(entry));
  }
  const float* linear_sum(int64_t idx, int64_t dim) const {
    return entries[idx].linear_sum.empty() ? centroids.data() + idx * dim : entries[idx].linear_sum.data();
  }
};

// What is being inserted: a row or, on rebuilding, a leaf entry of the former tree.
struct CfTree::Candidate {
  int64_t num_rows;
  float squared_sum;
  float squared_norm;  // of the centroid
  const float* centroid;
  const float* linear_sum;
};

CfTree::CfTree(int64_t dim, double threshold, int64_t branching_factor)
    : dim_(dim), threshold_(threshold), branching_factor_(branching_factor), sum_(dim), centroid_(dim) {
  root_ = NewNode(/*is_leaf=*/true);
}
CfTree::~CfTree() = default;
CfTree::CfTree(CfTree&&) noexcept = default;
CfTree& CfTree::operator=(CfTree&&) noexcept = default;

std::unique_ptr<CfTree::Node> CfTree::NewNode(bool is_leaf) {
  auto node = std::make_unique<Node>();
  node->is_leaf = is_leaf;
  // Spare pages cost nothing (page_vector.h), so long rows get their place at once and are never moved.
  constexpr int64_t kLongRow = 1024, kLargestGrowth = 64;
  if (dim_ >= kLongRow) node->growth = std::min(branching_factor_ + 1, kLargestGrowth);
  ++num_nodes_;
  return node;
}

void CfTree::Insert(std::span<const float> row) {
  const float squared_norm = static_cast<float>(Dot(row.data(), row.data(), dim_));
  InsertCandidate({1, squared_norm, squared_norm, row.data(), row.data()});
}

void CfTree::InsertEntriesOf(CfTree other) {
  for (Node* leaf = other.FirstLeaf(); leaf != nullptr; leaf = leaf->next) {
    for (int64_t i = 0; i < leaf->size(); ++i) {
      const Entry& entry = leaf->entries[i];
      InsertCandidate({entry.num_rows, entry.squared_sum, leaf->squared_norms[i],
                       leaf->centroids.data() + i * dim_, leaf->linear_sum(i, dim_)});
    }
    PageVector<float>().swap(leaf->centroids);
    std::vector<Entry>().swap(leaf->entries);
  }
}

void CfTree::InsertCandidate(const Candidate& candidate) {
  if (!InsertInto(*root_, candidate)) return;
  auto root = NewNode(/*is_leaf=*/false);
  Entry old_root;
  old_root.child = std::move(root_);
  root->Append(std::move(old_root), candidate.centroid, dim_, 0);  // overwritten by the split
  root_ = std::move(root);
  SplitChild(*root_, 0);
}

// True when `node` now has one entry too many and its parent must split it.
bool CfTree::InsertInto(Node& node, const Candidate& candidate) {
  const int64_t nearest = node.entries.empty() ? -1 : NearestEntry(node, candidate);
  if (!node.is_leaf) {
    if (InsertInto(*node.entries[nearest].child, candidate)) {
      SplitChild(node, nearest);
    } else {
      Absorb(node, nearest, candidate);
    }
    return node.size() > branching_factor_;
  }
  if (nearest >= 0 && TryMerge(node, nearest, candidate)) return false;
  Entry entry{candidate.num_rows, candidate.squared_sum, {}, nullptr};
  if (candidate.num_rows > 1) entry.linear_sum.assign(candidate.linear_sum, candidate.linear_sum + dim_);
  node.Append(std::move(entry), candidate.centroid, dim_, candidate.squared_norm);
  ++num_leaf_entries_;
  return node.size() > branching_factor_;
}

// argmin_c |x - c|^2 = argmin_c (|c|^2 - 2 x . c), the first of equals.
int64_t CfTree::NearestEntry(const Node& node, const Candidate& candidate) {
  dots_.resize(node.entries.size());
  DotRows(node.centroids.data(), node.size(), candidate.centroid, dim_, dots_.data());
  int64_t nearest = 0;
  float smallest = std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < node.size(); ++i) {
    const float distance = static_cast<float>(dots_[i]) * -2.0f + node.squared_norms[i];
    if (distance < smallest) {
      smallest = distance;
      nearest = i;
    }
  }
  return nearest;
}

// Merges if the union's squared radius SS / n - |LS / n|^2 stays within the squared threshold.
bool CfTree::TryMerge(Node& leaf, int64_t idx, const Candidate& candidate) {
  Entry& entry = leaf.entries[idx];
  const float* linear_sum = leaf.linear_sum(idx, dim_);
  const int64_t num_rows = entry.num_rows + candidate.num_rows;
  const float squared_sum = entry.squared_sum + candidate.squared_sum;
  const float scale = static_cast<float>(1.0 / static_cast<double>(num_rows));
  for (int64_t d = 0; d < dim_; ++d) {
    sum_[d] = linear_sum[d] + candidate.linear_sum[d];
    centroid_[d] = scale * sum_[d];
  }
  const float squared_norm = static_cast<float>(Dot(centroid_.data(), centroid_.data(), dim_));
  const float squared_radius = squared_sum / static_cast<float>(num_rows) - squared_norm;
  if (!(squared_radius <= static_cast<float>(threshold_ * threshold_))) return false;
  entry.num_rows = num_rows;
  entry.squared_sum = squared_sum;
  entry.linear_sum.assign(sum_.begin(), sum_.end());
  std::copy(centroid_.begin(), centroid_.end(), leaf.centroids.begin() + idx * dim_);
  leaf.squared_norms[idx] = squared_norm;
  return true;
}

// Adds the candidate to an inner entry, below which it went.
void CfTree::Absorb(Node& node, int64_t idx, const Candidate& candidate) {
  Entry& entry = node.entries[idx];
  float* linear_sum = entry.linear_sum.data();
  float* centroid = node.centroids.data() + idx * dim_;
  entry.num_rows += candidate.num_rows;
  entry.squared_sum += candidate.squared_sum;
  const float num_rows = static_cast<float>(entry.num_rows);
  for (int64_t d = 0; d < dim_; ++d) {
    linear_sum[d] += candidate.linear_sum[d];
    centroid[d] = linear_sum[d] / num_rows;
  }
  node.squared_norms[idx] = static_cast<float>(Dot(centroid, centroid, dim_));
}

namespace {

// The two entries farthest apart and, for each entry, whether the first of them is the nearer one.
std::vector<bool> NearerToFirstSeed(const PageVector<float>& centroids, int64_t count, int64_t dim) {
  std::vector<double> norms(count);
  std::vector<float> distances(count * count, 0.0f);
  const float* c = centroids.data();
  for (int64_t i = 0; i < count; ++i) norms[i] = Dot(c + i * dim, c + i * dim, dim);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = i + 1; j < count; ++j) {
      const double squared = norms[i] + norms[j] - 2 * Dot(c + i * dim, c + j * dim, dim);
      distances[i * count + j] = distances[j * count + i] = static_cast<float>(std::max(squared, 0.0));
    }
  }
  const int64_t farthest = std::max_element(distances.begin(), distances.end()) - distances.begin();
  const int64_t first = farthest / count, second = farthest % count;
  std::vector<bool> nearer(count);
  for (int64_t i = 0; i < count; ++i)
    nearer[i] = distances[first * count + i] < distances[second * count + i];
  nearer[first] = true;  // also when all entries coincide
  return nearer;
}

}  // namespace

// Replaces entry `idx` of `parent` by two: its child's entries go with the nearer of the two farthest apart.
void CfTree::SplitChild(Node& parent, int64_t idx) {
  const std::unique_ptr<Node> full = std::move(parent.entries[idx].child);
  std::unique_ptr<Node> halves[2] = {NewNode(full->is_leaf), NewNode(full->is_leaf)};
  --num_nodes_;  // `full` goes
  if (full->is_leaf) {
    halves[0]->prev = full->prev;
    halves[0]->next = halves[1].get();
    halves[1]->prev = halves[0].get();
    halves[1]->next = full->next;
    if (full->prev != nullptr) full->prev->next = halves[0].get();
    if (full->next != nullptr) full->next->prev = halves[1].get();
  }
  Entry sums[2];
  const std::vector<bool> nearer = NearerToFirstSeed(full->centroids, full->size(), dim_);
  for (int64_t i = 0; i < full->size(); ++i) {
    const int half = nearer[i] ? 0 : 1;
    AddTo(sums[half], full->entries[i], full->linear_sum(i, dim_), dim_);
    halves[half]->Append(std::move(full->entries[i]), full->centroids.data() + i * dim_, dim_,
                         full->squared_norms[i]);
  }
  for (int half = 0; half < 2; ++half) {
    sums[half].child = std::move(halves[half]);
    const float num_rows = static_cast<float>(sums[half].num_rows);
    for (int64_t d = 0; d < dim_; ++d) centroid_[d] = sums[half].linear_sum[d] / num_rows;
    const float squared_norm = static_cast<float>(Dot(centroid_.data(), centroid_.data(), dim_));
    if (half == 0) {
      std::copy(centroid_.begin(), centroid_.end(), parent.centroids.begin() + idx * dim_);
      parent.squared_norms[idx] = squared_norm;
      parent.entries[idx] = std::move(sums[0]);
    } else {
      parent.Append(std::move(sums[1]), centroid_.data(), dim_, squared_norm);
    }
  }
}

void CfTree::AddTo(Entry& sum, const Entry& entry, const float* linear_sum, int64_t dim) {
  sum.num_rows += entry.num_rows;
  sum.squared_sum += entry.squared_sum;
  if (sum.linear_sum.empty()) {
    sum.linear_sum.assign(linear_sum, linear_sum + dim);
  } else {
    for (int64_t d = 0; d < dim; ++d) sum.linear_sum[d] += linear_sum[d];
  }
}

CfTree::Node* CfTree::FirstLeaf() const {
  Node* node = root_.get();
  while (!node->is_leaf) node = node->entries[0].child.get();
  while (node->prev != nullptr) node = node->prev;
  return node;
}

// For each entry of a leaf, the smallest radius of its union with another entry of the leaf. From the parts'
// CFs:
//   r^2 = (n1 r1^2 + n2 r2^2) / n + n1 n2 / n^2 |c1 - c2|^2,   n = n1 + n2.
std::vector<double> CfTree::NearestUnionRadii(const Node& leaf) const {
  std::vector<double> squared_radii(leaf.size(), std::numeric_limits<double>::infinity());
  const auto squared_deviation = [&](int64_t i) {  // n r^2 = SS - n |c|^2
    const double n = static_cast<double>(leaf.entries[i].num_rows);
    return std::max(0.0, leaf.entries[i].squared_sum - n * leaf.squared_norms[i]);
  };
  for (int64_t i = 0; i < leaf.size(); ++i) {
    for (int64_t j = i + 1; j < leaf.size(); ++j) {
      const double n1 = static_cast<double>(leaf.entries[i].num_rows);
      const double n2 = static_cast<double>(leaf.entries[j].num_rows);
      const double distance =
          SquaredDistance(leaf.centroids.data() + i * dim_, leaf.centroids.data() + j * dim_, dim_);
      const double deviation = squared_deviation(i) + squared_deviation(j) + n1 * n2 / (n1 + n2) * distance;
      squared_radii[i] = std::min(squared_radii[i], deviation / (n1 + n2));
      squared_radii[j] = std::min(squared_radii[j], deviation / (n1 + n2));
    }
  }
  for (double& radius : squared_radii) radius = std::sqrt(radius);
  return squared_radii;
}

double CfTree::GrownThreshold(double least_growth) const {
  std::vector<const Node*> leaves;
  for (const Node* leaf = FirstLeaf(); leaf != nullptr; leaf = leaf->next) leaves.push_back(leaf);
  std::vector<std::vector<double>> radii_of(leaves.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t i = 0; i < leaves.size(); ++i) radii_of[i] = NearestUnionRadii(*leaves[i]);
  std::vector<double> radii;
  double squared_sum = 0, num_rows = 0;
  for (size_t i = 0; i < leaves.size(); ++i) {
    radii.insert(radii.end(), radii_of[i].begin(), radii_of[i].end());
    for (const Entry& entry : leaves[i]->entries) {
      squared_sum += entry.squared_sum;
      num_rows += static_cast<double>(entry.num_rows);
    }
  }
  if (radii.empty()) return threshold_;
  const auto median = radii.begin() + radii.size() / 2;
  std::nth_element(radii.begin(), median, radii.end());
  const double floor =
      std::max((1 + least_growth) * threshold_, kSmallestRadius * std::sqrt(squared_sum / num_rows));
  return std::isfinite(*median) ? std::max(*median, floor) : floor;
}

std::vector<int64_t> CfTree::LeafSizes() const {
  std::vector<int64_t> sizes;
  for (const Node* leaf = FirstLeaf(); leaf != nullptr; leaf = leaf->next) {
    for (const Entry& entry : leaf->entries) sizes.push_back(entry.num_rows);
  }
  return sizes;
}

std::vector<float> CfTree::TakeCentroids() {
  std::vector<float> all;
  all.reserve(num_leaf_entries_ * dim_);
  for (Node* leaf = FirstLeaf(); leaf != nullptr; leaf = leaf->next) {
    all.insert(all.end(), leaf->centroids.begin(), leaf->centroids.end());
    PageVector<float>().swap(leaf->centroids);
    std::vector<Entry>().swap(leaf->entries);
  }
  return all;
}

}  // namespace elrea
