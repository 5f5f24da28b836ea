// elrea cluster: BIRCH over the features.
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pipeline.h"

namespace elrea {

void AddClusterCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("cluster", "group the training rows of a run by their features");
  AddRunFlags(*command, *flags);
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const Run run = OpenRunForWriting(flags->Request());
      ClusterRows(run, LoadRunData(run));
    };
  });
}

}  // namespace elrea
