// Everything a study is configured by: the options of a run, and section `study`.
#pragma once

#include <string>
#include <vector>

#include "cli/pipeline_config.h"
#include "study/study_options.h"
#include "study/workbench.h"

namespace elrea {

struct StudyConfig {
  PipelineConfig pipeline;
  StudyOptions study;
};
template <typename Visitor>
void VisitOptions(StudyConfig& c, Visitor& v) {
  VisitOptions(c.pipeline, v);
  v.Section("study", c.study);
}

// The parts of a job that a run is configured by too: adapters, training, features, clusters, routing, answers.
void SetPipelineOptions(const PipelineConfig& config, StudyJob& job);

// As LoadConfig; also kInvalidInput for unknown methods of the study.
StudyConfig LoadStudyConfig(const fs::path& path, const std::vector<std::string>& overrides);

}  // namespace elrea
