// What the ensemble is made of, as HTML: clusters, weights, features, routing examples, learning curves. All
// under the bench's seed.
#pragma once

#include <string>

#include "study/row_values.h"
#include "study/workbench.h"

namespace elrea {

// Rows of each cluster by source.
std::string ClusterHeatMap(const Clustering& clustering, const std::vector<std::string>& sources);
// How far the clusters agree with the sources, and with clusters of resampled rows.
std::string StabilityText(Workbench& bench, const StudyFeatures& features, const Clustering& clustering);
// t-SNE of the training rows' features, by source and by cluster.
std::string FeatureMaps(Workbench& bench, const StudyFeatures& features, const Clustering& clustering);
// Shares of base and experts by source of the request. The record is of a routed method.
std::string WeightBars(const MethodRecord& record, const StudyJob& job);
// Requests with their weights, nearest training rows and answers.
std::string RoutingExamples(const StudyJob& job, const StudyFeatures& features, const Clustering& clustering,
                            const MethodRecord& record);
// Training losses of the base and of the experts, smoothed over a tenth of the steps.
std::string LearningCurves(Workbench& bench, const Clustering& clustering);

}  // namespace elrea
