// elrea config: every option with its help and value, as a YAML file to start from.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/pipeline_config.h"

namespace elrea {

void AddConfigCommand(CLI::App& app, Invocation& invocation) {
  struct Flags {
    std::string config;
    std::vector<std::string> overrides;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("config", "print all options with their help as YAML, to save and edit");
  command->add_option("--config", flags->config, "start from this file")->type_name("FILE");
  command->add_option("--set", flags->overrides, "and override options, as finetune.epochs=3")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->expected(1);
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      std::fputs(ConfigYaml(LoadConfig(flags->config, flags->overrides)).c_str(), stdout);
    };
  });
}

}  // namespace elrea
