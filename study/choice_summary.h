// Figures of choices scored by likelihood: the same statistics as summary.h's of exact match, over the rows
// that have choices.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "study/summary.h"

namespace elrea {

// Nothing when no row was scored. `base`: as of summary.h; may be null or the record itself.
std::optional<ChoiceSummary> SummariseChoices(const MethodRecord& record, const MethodRecord* base,
                                              const SummaryOptions& options);

Json ChoiceSummaryJson(const ChoiceSummary& summary);
// Two tables in plain text, or as HTML: figures against the base, and right choices per source. Empty when no
// method has any.
std::string ChoiceSummaryText(const std::vector<MethodSummary>& summaries);
std::string ChoiceSummaryHtml(const std::vector<MethodSummary>& summaries);

}  // namespace elrea
