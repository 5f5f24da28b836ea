// The subcommands of the program, each in its own file. An Add function declares the options of one and, when
// the user chose it, leaves what is to be done in Invocation::action for main to run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace elrea {

struct Invocation {
  int64_t threads = 0;  // 0: as many as there are cores
  std::string log_level = "info";
  std::function<void()> action;
};

void AddRunCommand(CLI::App& app, Invocation& invocation);
void AddDataCommand(CLI::App& app, Invocation& invocation);
void AddTrainCommand(CLI::App& app, Invocation& invocation);
void AddFeaturesCommand(CLI::App& app, Invocation& invocation);
void AddClusterCommand(CLI::App& app, Invocation& invocation);
void AddExpertsCommand(CLI::App& app, Invocation& invocation);
void AddRouteCommand(CLI::App& app, Invocation& invocation);
void AddGenerateCommand(CLI::App& app, Invocation& invocation);
void AddChatCommand(CLI::App& app, Invocation& invocation);
void AddServeCommand(CLI::App& app, Invocation& invocation);
void AddEvalCommand(CLI::App& app, Invocation& invocation);
void AddStudyCommand(CLI::App& app, Invocation& invocation);
void AddInspectCommand(CLI::App& app, Invocation& invocation);
void AddTokenizeCommand(CLI::App& app, Invocation& invocation);
void AddEmbedCommand(CLI::App& app, Invocation& invocation);
void AddRenderCommand(CLI::App& app, Invocation& invocation);
void AddScoreCommand(CLI::App& app, Invocation& invocation);
void AddAdapterCommand(CLI::App& app, Invocation& invocation);
void AddModelCommand(CLI::App& app, Invocation& invocation);
void AddConfigCommand(CLI::App& app, Invocation& invocation);

}  // namespace elrea
