// The study as one HTML page: tables and figures inline, no scripts, nothing fetched. What needs the clusters
// is shown for the first seed.
#pragma once

#include "study/study.h"

namespace elrea {

// Writes report.html into the study's folder. `bench`: of the first seed. A figure whose parts failed is
// replaced by the reason.
void WriteHtmlReport(Workbench& bench, const StudyResult& result);

}  // namespace elrea
