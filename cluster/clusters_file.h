// The clusters of a run on disk, in one folder:
// clusters.json, written last, and centroids.safetensors. Fields: docs/formats.md.
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
