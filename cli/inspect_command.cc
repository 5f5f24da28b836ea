// elrea inspect: what a run contains, what is missing, and what to do next.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/run.h"
#include "cli/stage_status.h"
#include "core/text.h"

namespace elrea {
namespace {

std::string NextCommand(const RunPaths& paths, const std::vector<StageStatus>& stages) {
  for (const StageStatus& stage : stages) {
    if (stage.state != StageState::kDone) return "elrea run --run " + paths.root.string();
  }
  return "elrea chat --run " + paths.root.string();
}

void PrintJson(const RunPaths& paths, const PipelineConfig& config, const std::vector<StageStatus>& stages) {
  Json list = Json::array();
  for (const StageStatus& stage : stages) {
    list.push_back({{"name", stage.name}, {"state", StageStateName(stage.state)}, {"detail", stage.detail}});
  }
  const Json manifest = ReadJsonFile(paths.manifest());
  std::printf("%s\n", JsonLine({{"run", paths.root.string()},
                                {"manifest", manifest},
                                {"stages", list},
                                {"next", NextCommand(paths, stages)},
                                {"config", ConfigJson(config)}})
                          .c_str());
}

void PrintTable(const RunPaths& paths, const PipelineConfig& config, const std::vector<StageStatus>& stages) {
  std::vector<std::vector<std::string>> table = {{"stage", "state", "what"}};
  for (const StageStatus& stage : stages) {
    table.push_back(
        {stage.name, StageStateName(stage.state),
         stage.state == StageState::kDone || !stage.detail.empty() ? stage.detail : stage.command});
  }
  std::printf("%s, on %s (%s), rank %lld\n\n%s\nnext: %s\n", paths.root.c_str(), config.model.path.c_str(),
              config.model.dtype.c_str(), static_cast<long long>(config.lora.rank),
              FormatTable(table).c_str(), NextCommand(paths, stages).c_str());
}

}  // namespace

void AddInspectCommand(CLI::App& app, Invocation& invocation) {
  struct Flags {
    std::string directory;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("inspect", "show what a run contains and what is missing");
  command->add_option("DIR,--run", flags->directory, "the run's folder")->required();
  command->add_flag("--json", flags->json, "one JSON object");
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const RunPaths paths{flags->directory};
      const PipelineConfig config = ReadRunConfig(paths);
      const std::vector<StageStatus> stages = InspectRun(paths);
      (flags->json ? PrintJson : PrintTable)(paths, config, stages);
    };
  });
}

}  // namespace elrea
