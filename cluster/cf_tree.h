// The CF tree of BIRCH (Zhang, Ramakrishnan, Livny 1996): a height-balanced tree of clustering features,
// built in one pass over the rows. Decision by decision it is the tree that scikit-learn 1.9's Birch builds
// from float32 input: the same nearest entry, merge test, split rule, order of leaves and rounding of stored
// values (float), so that equal threshold and branching factor give equal subclusters. Inner products are
// summed in double (scikit-learn: in float).
//
// A clustering feature CF = (n, LS, SS): number of rows, their sum, their sum of squared norms. CFs add. From
// one:
//   centroid c = LS / n,   squared radius r^2 = SS / n - |c|^2   (mean squared distance of the rows to c).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cluster/row_matrix.h"

namespace elrea {

// Single-thread to build. Cost of one insertion: depth * branching_factor inner products of `dim`.
class CfTree {
 public:
  // A new row joins the nearest leaf entry if the union's radius stays <= `threshold` (>= 0); a node holds at
  // most `branching_factor` (> 1) entries.
  CfTree(int64_t dim, double threshold, int64_t branching_factor);
  ~CfTree();
  CfTree(CfTree&&) noexcept;
  CfTree& operator=(CfTree&&) noexcept;

  // Adds one row of `dim` finite floats.
  void Insert(std::span<const float> row);
  // Moves the leaf entries of `other` in, in leaf order; `other` is left empty. REQUIRES: other.dim() ==
  // dim().
  void InsertEntriesOf(CfTree other);

  // The next threshold when the tree has too many leaf entries: the median over all leaf entries of the
  // radius of the union with the nearest other entry of the same leaf, so that about half of them find a
  // partner; at least (1 + least_growth) times the present threshold.
  double GrownThreshold(double least_growth) const;

  int64_t dim() const { return dim_; }
  double threshold() const { return threshold_; }
  int64_t num_leaf_entries() const { return num_leaf_entries_; }
  int64_t num_nodes() const { return num_nodes_; }

  // Rows per leaf entry, in leaf order.
  std::vector<int64_t> LeafSizes() const;
  // Centroids of the leaf entries [num_leaf_entries, dim], in leaf order. Frees the tree leaf by leaf on the
  // way, so that the centroids are never held twice.
  std::vector<float> TakeCentroids();

 private:
  struct Entry;
  struct Node;
  struct Candidate;

  std::unique_ptr<Node> NewNode(bool is_leaf);
  void InsertCandidate(const Candidate& candidate);
  bool InsertInto(Node& node, const Candidate& candidate);
  int64_t NearestEntry(const Node& node, const Candidate& candidate);
  bool TryMerge(Node& leaf, int64_t idx, const Candidate& candidate);
  void Absorb(Node& node, int64_t idx, const Candidate& candidate);
  void SplitChild(Node& parent, int64_t idx);
  static void AddTo(Entry& sum, const Entry& entry, const float* linear_sum, int64_t dim);
  std::vector<double> NearestUnionRadii(const Node& leaf) const;
  Node* FirstLeaf() const;

  int64_t dim_;
  double threshold_;
  int64_t branching_factor_;
  int64_t num_leaf_entries_ = 0;
  int64_t num_nodes_ = 0;
  std::unique_ptr<Node> root_;
  std::vector<double> dots_;           // scratch of NearestEntry
  std::vector<float> sum_, centroid_;  // scratch of TryMerge
};

}  // namespace elrea
