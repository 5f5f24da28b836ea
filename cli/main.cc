// The program: parses the command line, runs one subcommand, and turns every failure into one line on stderr
// and an exit code. Results go to stdout, diagnostics to stderr.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/program.h"
#include "core/commit.h"

namespace {

constexpr const char* kAbout =
    "Ensembles of low-rank expert adapters: fine-tune, cluster by gradient, route and decode.\n"
    "Start with `elrea run --config FILE --out DIR`, then `elrea chat --run DIR`.";

void AddCommands(CLI::App& app, elrea::Invocation& invocation) {
  using namespace elrea;
  for (auto add : {AddRunCommand, AddDataCommand, AddTrainCommand, AddFeaturesCommand, AddClusterCommand,
                   AddExpertsCommand, AddRouteCommand, AddGenerateCommand, AddChatCommand, AddEvalCommand,
                   AddInspectCommand, AddTokenizeCommand, AddEmbedCommand, AddRenderCommand, AddScoreCommand,
                   AddModelCommand, AddAdapterCommand, AddServeCommand, AddConfigCommand,
                   AddStudyCommand}) {
    add(app, invocation);
  }
}

// "elrea adapter merge": what the words came to before one was not understood.
std::string CommandUnderway(const CLI::App& app) {
  std::string command = app.get_name();
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  return command;
}

}  // namespace

int main(int argc, char** argv) {
  elrea::PrepareProcess();
  CLI::App app(kAbout, "elrea");
  elrea::Invocation invocation;
  app.set_version_flag("--version", fmt::format("{} ({})", elrea::kVersion, elrea::BuildCommit()));
  app.fallthrough();  // --threads may stand behind the subcommand
  app.add_option("--threads", invocation.threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--log-level", invocation.log_level, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  AddCommands(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    if (failure.get_exit_code() == 0) return app.exit(failure);  // --help, --version
    return elrea::FailUsage(failure.what(), CommandUnderway(app));
  }
  if (!invocation.action) return elrea::FailUsage("no command given", app.get_name());
  elrea::RestartWithShortSpins(argv);
  return elrea::RunAction(invocation);
}
