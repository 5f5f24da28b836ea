// A run directory as the stages see it: its saved configuration, its backbone, and a lock while something is
// written. A directory belongs to one backbone, one tokenizer, one set of data and one set of training
// options for good; opening it with others is one error that names all that differs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/backbone.h"
#include "cli/pipeline_config.h"
#include "cli/run_paths.h"

namespace elrea {

struct Run {
  RunPaths paths;
  PipelineConfig config;  // resolved: absolute paths, no "auto" dtype
  Backbone backbone;
  std::unique_ptr<DirectoryLock> lock;  // of a run opened for writing
};

struct RunRequest {
  fs::path directory;
  fs::path config_path;                // empty: the run's own configuration
  std::vector<std::string> overrides;  // "a.b=c", on top of either
};

// Makes the run, or opens it again after comparing. kInvalidInput: what differs, or that another process
// writes there; kNotFound: no run there and no configuration given.
Run OpenRunForWriting(const RunRequest& request);

// The run as it is, for stages that write nothing into it. Overrides may only change routing, generation and
// eval. kNotFound when there is no run.
Run OpenRunForReading(const RunRequest& request);

// The saved configuration alone, without loading anything. kNotFound when there is no run.
PipelineConfig ReadRunConfig(const RunPaths& paths);

}  // namespace elrea
