// Tables of a study's report, as HTML.
#pragma once

#include <string>
#include <vector>

#include "study/findings.h"
#include "study/summary.h"

namespace elrea {

// Figures of methods against the base adapter; columns of answers only where some method has answers.
std::string ResultsTable(const std::vector<MethodSummary>& summaries);
// Seconds and memory beside what they bought, means over the seeds.
std::string CostTable(const std::vector<MethodSummary>& summaries);
// What each method is.
std::string MethodsTable(const std::vector<MethodSummary>& summaries);
// Exact match by source, and over all rows.
std::string SourceTable(const std::vector<MethodSummary>& summaries);
// Exact match, and right choices by likelihood, of the tasks that sources are made of: one row each, means only. Empty where
// no row belongs to a task.
std::string TaskTable(const std::vector<MethodSummary>& summaries);
// The ensemble minus each other central method.
std::string RivalsTable(const std::vector<Rival>& rivals);
std::string FindingsTable(const std::vector<Finding>& findings);

}  // namespace elrea
