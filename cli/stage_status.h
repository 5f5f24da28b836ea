// What a run directory contains and what is missing, read from its artifacts without loading a model.
#pragma once

#include <string>
#include <vector>

#include "cli/run_paths.h"

namespace elrea {

enum class StageState { kMissing, kUnderWay, kDone };
const char* StageStateName(StageState state);  // "missing", "under way", "done"

struct StageStatus {
  std::string name;  // data, base, features, clusters, experts, eval
  StageState state = StageState::kMissing;
  std::string detail;   // numbers for a reader
  std::string command;  // does the stage, or goes on with it
};

// In pipeline order. Errors as of the artifacts' readers (kCorrupt).
std::vector<StageStatus> InspectRun(const RunPaths& paths);

// kNotFound naming the stage and the command that does it, unless it is done.
void RequireStage(const RunPaths& paths, const std::string& name);

}  // namespace elrea
