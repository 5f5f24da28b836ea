// What the page of the server shows of a run's clusters: sizes, sources, typical rows, and a map of the features.
#pragma once

#include "cli/row_index.h"
#include "core/json.h"

namespace elrea {

// {"clusters": [{"cluster", "rows", "sources", "mean_cosine", "examples": [{"row", "source", "instruction"}]}],
//  "points": [{"row", "x", "y", "cluster", "source", "instruction"}], "explained"}
// Points are a seeded sample of the rows on the first two principal components of their features; `explained` is the
// share of the variance on these. Examples are the rows next to the centroid, of a sample of the cluster's rows.
Json ClusterMap(const RowIndex& rows, const Clustering& clustering);

}  // namespace elrea
