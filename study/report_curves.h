// Figures over all methods of a study, as HTML.
#pragma once

#include <string>
#include <vector>

#include "study/summary.h"

namespace elrea {

// Every method's difference from the base adapter with its interval.
std::string Forests(const std::vector<MethodSummary>& summaries);

// Change of the response loss against the base over the number of experts that answer, the length of
// features, and the number of clusters, as far as such methods were run.
std::string Curves(const std::vector<MethodSummary>& summaries, size_t num_clusters);

// What the number of clusters costs: seconds of training, seconds of answering and memory.
std::string EfficiencyCurves(const std::vector<MethodSummary>& summaries);

}  // namespace elrea
