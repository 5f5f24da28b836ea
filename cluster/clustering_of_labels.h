// A clustering that another algorithm found, in the form that routing and expert training take. Defined
// beside ClusterFeatures, whose centroids and statistics it shares.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/cluster_features.h"

namespace elrea {

// labels[i] >= 0 of row i; labels without rows vanish. Centroids are the normalised means of the unit rows.
// Errors: kInvalidInput for a row with NaN or infinity. REQUIRES: one label and, unless empty, one source per
// row.
Clustering ClusteringOf(RowMatrix features, const std::vector<int64_t>& labels,
                        std::span<const std::string> sources);

}  // namespace elrea
