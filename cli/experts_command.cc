// elrea experts: one adapter per cluster, each started from the base adapter.
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pipeline.h"

namespace elrea {

void AddExpertsCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("experts", "fine-tune one expert per cluster of a run");
  AddRunFlags(*command, *flags);
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const Run run = OpenRunForWriting(flags->Request());
      TrainExperts(run, LoadRunData(run));
    };
  });
}

}  // namespace elrea
