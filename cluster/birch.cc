#include "cluster/birch.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "cluster/cf_tree.h"
#include "cluster/check_rows.h"
#include "cluster/nearest_label.h"
#include "cluster/ward.h"
#include "core/error.h"
#include "core/log.h"
#include "core/options.h"

namespace elrea {

void VisitOptions(BirchOptions& options, OptionVisitor& visitor) {
  visitor.Field("num_clusters", options.num_clusters, "clusters per call", AtLeast(1));
  visitor.Field(
      "threshold", options.threshold,
      "largest radius of a subcluster; larger gives fewer, coarser ones; 0 finds it from max_leaves",
      AtLeast(0));
  visitor.Field("branching_factor", options.branching_factor, "entries a node of the CF tree holds",
                AtLeast(2));
  visitor.Field("max_leaves", options.max_leaves,
                "subclusters kept when threshold is 0; more is finer and slower (time grows with the square)",
                AtLeast(2));
}

namespace {

constexpr int64_t kProgressRows = 64;

// Phase 1 with a known threshold: one pass over the rows.
CfTree BuildTree(const BirchOptions& options, RowMatrix rows) {
  CfTree tree(rows.dim, options.threshold, options.branching_factor);
  Progress progress("cluster", rows.rows, "rows");
  for (int64_t i = 0; i < rows.rows; ++i) {
    tree.Insert(rows.row(i));
    if (i % kProgressRows == 0) progress.Set(i);
  }
  progress.Set(rows.rows);
  return tree;
}

// Phase 1 of the paper: when the tree outgrows its budget, its leaf entries are inserted into a new tree with
// a larger threshold, and the pass goes on with that one. In many dimensions radii crowd together just below
// that of the whole data, where a step of 2% turns a thousand entries into a handful: the least step is
// small, and doubles only while rebuilding frees too little room.
CfTree BuildBoundedTree(const BirchOptions& options, RowMatrix rows) {
  constexpr double kLeastGrowth = 1e-4;
  CfTree tree(rows.dim, /*threshold=*/0, options.branching_factor);
  double least_growth = kLeastGrowth;
  Progress progress("cluster", rows.rows, "rows");
  for (int64_t i = 0; i < rows.rows; ++i) {
    tree.Insert(rows.row(i));
    while (tree.num_leaf_entries() > options.max_leaves) {
      CfTree coarser(rows.dim, tree.GrownThreshold(least_growth), options.branching_factor);
      coarser.InsertEntriesOf(std::move(tree));
      tree = std::move(coarser);
      const bool has_room = tree.num_leaf_entries() <= options.max_leaves - options.max_leaves / 10;
      least_growth = has_room ? kLeastGrowth : 2 * least_growth;
    }
    if (i % kProgressRows == 0) progress.Set(i, fmt::format("threshold {:.3g}", tree.threshold()));
  }
  progress.Set(rows.rows);
  return tree;
}

}  // namespace

BirchModel FitBirch(const BirchOptions& options, RowMatrix rows) {
  CheckRows(rows, "BIRCH");
  if (rows.rows < options.num_clusters) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("BIRCH: {} rows cannot form {} clusters; give more rows or lower num_clusters",
                            rows.rows, options.num_clusters));
  }
  CfTree tree = options.threshold > 0 ? BuildTree(options, rows) : BuildBoundedTree(options, rows);
  BirchModel model;
  model.dim = rows.dim;
  model.threshold = tree.threshold();
  model.center_sizes = tree.LeafSizes();
  model.centers = tree.TakeCentroids();
  const int64_t num_centers = static_cast<int64_t>(model.center_sizes.size());
  model.num_clusters = std::min(options.num_clusters, num_centers);
  if (num_centers < options.num_clusters) {
    model.center_labels.resize(num_centers);
    std::iota(model.center_labels.begin(), model.center_labels.end(), 0);
  } else {
    model.center_labels =
        CutTree(WardTree({model.centers.data(), num_centers, model.dim}), model.num_clusters);
  }
  return model;
}

std::vector<int64_t> PredictBirch(const BirchModel& model, RowMatrix rows) {
  CheckRows(rows, "BIRCH");
  if (rows.dim != model.dim) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("BIRCH: rows of {} values, but the clusters were made from rows of {}", rows.dim,
                            model.dim));
  }
  return NearestLabels(model.center_rows(), model.center_labels, rows);
}

}  // namespace elrea
