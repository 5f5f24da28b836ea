// elrea train: the base adapter, on all rows.
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pipeline.h"

namespace elrea {

void AddTrainCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("train", "fine-tune the base adapter of a run on all rows");
  AddRunFlags(*command, *flags);
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const Run run = OpenRunForWriting(flags->Request());
      TrainBase(run, PrepareData(run));
    };
  });
}

}  // namespace elrea
