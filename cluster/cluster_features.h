// Groups gradient features into the clusters that get an expert each (method section 3): BIRCH on a seeded
// sample, all rows to the nearest centroid by cosine, and clusters much larger than the smallest are divided
// again.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cluster/birch.h"
#include "cluster/row_matrix.h"

namespace elrea {

struct ClusterOptions {
  BirchOptions birch;
  int64_t sample_rows = 5000;
  double max_size_ratio = 5;
  int64_t max_rounds = 3;
  std::string center = "none";
  int64_t seed = 1;
};
void VisitOptions(ClusterOptions& options, OptionVisitor& visitor);

struct FeatureCluster {
  std::vector<float> centroid;             // [dim], unit length: the normalised mean of its rows
  std::vector<int64_t> rows;               // ascending
  double mean_cosine = 0;                  // of its rows' cosines to the centroid
  double std_cosine = 0;                   // population standard deviation of the same
  std::map<std::string, int64_t> sources;  // rows per source
};

// One cluster that existed at some time, for the record. Node 0 holds all rows; a node's children partition
// it.
struct ClusterNode {
  int64_t parent = -1;
  int64_t round = 0;     // of the division that made it; 0: the first
  int64_t size = 0;      // rows
  int64_t cluster = -1;  // index in `clusters`, or -1 when it was divided
};

struct Clustering {
  int64_t dim = 0;
  int64_t num_rows = 0;
  std::vector<float>
      mean;  // [dim], subtracted from features before they are normalised; empty with center = none
  std::vector<FeatureCluster> clusters;
  std::vector<ClusterNode> history;
};

// `features` [examples, feat]; `sources` names each row's data set, or is empty. Deterministic: equal results
// for any number of threads. Rows need not have unit length; rows that are zero (after centring) count as
// cosine 0 to all. Fewer distinct rows than birch.num_clusters give fewer clusters, with a warning. Memory: a
// copy of the sample. Errors: kInvalidInput for fewer rows than birch.num_clusters, a row with NaN or
// infinity (named), a wrong number of sources.
Clustering ClusterFeatures(const ClusterOptions& options, RowMatrix features,
                           std::span<const std::string> sources);

// The rows of each cluster.
std::vector<std::vector<int64_t>> RowGroups(const Clustering& clustering);

// row := (row - mean) / |row - mean|, or zeros; `mean` may be empty. What a request's feature goes through
// before it is compared with centroids.
void CenterAndNormalize(std::span<float> row, std::span<const float> mean);

}  // namespace elrea
