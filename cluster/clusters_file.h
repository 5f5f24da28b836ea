// The clusters of a run on disk, in one folder:
//   centroids.safetensors  "centroids" [clusters, dim] F32, unit rows; with center = mean also "mean" [dim]
//   F32 clusters.json          everything else, written last: format_version, dim, num_rows, options, and
//     clusters: [{id, size, mean_cosine, std_cosine, sources: {name: rows}, rows: [...]}], id = row of
//     "centroids" history:  [{parent, round, size, cluster}], entry 0 is all rows; parent and cluster are -1
//     for none centroids_checksum: XXH3 of the other file, so that a pair from two runs is noticed
#pragma once

#include "cluster/cluster_features.h"
#include "core/files.h"
#include "core/json.h"

namespace elrea {

inline constexpr const char* kClustersFileName = "clusters.json";
inline constexpr const char* kCentroidsFileName = "centroids.safetensors";

// Each file appears whole or not at all. `options` goes into the file as a record.
void WriteClusters(const fs::path& directory, const Clustering& clustering, const ClusterOptions& options);

// Errors: kNotFound; kCorrupt naming file and field when the files are damaged, do not belong together or
// contradict themselves (sizes, rows that are missing, out of range or in two clusters).
Clustering ReadClusters(const fs::path& directory);

}  // namespace elrea
