// elrea run: all stages, one after the other; what is done already is not done again.
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pipeline.h"

namespace elrea {

void AddRunCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run",
                                         "data, base adapter, features, clusters, experts and evaluation, "
                                         "going on where an earlier call stopped");
  AddRunFlags(*command, *flags);
  command->callback([&invocation, flags] {
    invocation.action = [flags] { RunPipeline(OpenRunForWriting(flags->Request())); };
  });
}

}  // namespace elrea
