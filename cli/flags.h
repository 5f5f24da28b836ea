// Command-line options that several subcommands share, declared once.
#pragma once

#include <string>
#include <vector>

#include "cli/run.h"

namespace CLI {
class App;
}

namespace elrea {

// --run DIR with --config and --set: the stages of a run.
struct RunFlags {
  std::string directory, config;
  std::vector<std::string> overrides;
  RunRequest Request() const { return {directory, config, overrides}; }
};
void AddRunFlags(CLI::App& command, RunFlags& flags);

// A model outside of a run.
struct ModelFlags {
  std::string model, dtype, chat_template;
  std::vector<std::string> overrides;
  // The overrides with the flags spelt as options ("model.path=...").
  std::vector<std::string> AsOverrides() const;
};
void AddModelFlags(CLI::App& command, ModelFlags& flags);

// Who answers: --model M [--adapter A], or --run DIR [--method NAME].
struct TargetFlags {
  ModelFlags model;
  std::string adapter, run, method;
};
void AddTargetFlags(CLI::App& command, TargetFlags& flags);

// How answers are drawn. Each flag that was given overrides the option of the same name in section
// `generation`.
struct SamplingFlags {
  std::vector<std::string> overrides;
};
void AddSamplingFlags(CLI::App& command, SamplingFlags& flags);

}  // namespace elrea
