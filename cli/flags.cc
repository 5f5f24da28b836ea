#include "cli/flags.h"

#include <CLI/CLI.hpp>

#include "core/json.h"
#include "eval/method.h"

namespace elrea {
namespace {

void AddSetFlag(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "override one option, as finetune.epochs=3; `elrea config` lists all; repeatable")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->expected(1);
}

}  // namespace

void AddRunFlags(CLI::App& command, RunFlags& flags) {
  command.add_option("--out,--run", flags.directory, "folder of the run; made when it does not exist")
      ->required()
      ->type_name("DIR");
  command.add_option("--config", flags.config, "YAML file; without it, the options saved in the run")
      ->type_name("FILE");
  AddSetFlag(command, flags.overrides);
}

std::vector<std::string> ModelFlags::AsOverrides() const {
  std::vector<std::string> all;
  if (!model.empty()) all.push_back("model.path=" + model);
  if (!dtype.empty()) all.push_back("model.dtype=" + dtype);
  if (!chat_template.empty()) all.push_back("data.chat_template=" + chat_template);
  all.insert(all.end(), overrides.begin(), overrides.end());
  return all;
}

void AddModelFlags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option("--model", flags.model, "a .gguf file, a Hugging Face directory or a fetched model's name")
      ->type_name("MODEL");
  command.add_option("--dtype", flags.dtype, "auto (default), f32 or bf16")->type_name("DTYPE");
  command.add_option("--chat-template", flags.chat_template, "auto (default) or a family's name")
      ->type_name("NAME");
  AddSetFlag(command, flags.overrides);
}

void AddTargetFlags(CLI::App& command, TargetFlags& flags) {
  AddModelFlags(command, flags.model);
  CLI::Option* model = command.get_option("--model");
  CLI::Option* adapter =
      command.add_option("--adapter", flags.adapter, "an adapter folder, ours or PEFT's, on top of --model")
          ->type_name("DIR");
  CLI::Option* run =
      command.add_option("--run", flags.run, "a run's folder: its model and adapters")->type_name("DIR");
  std::string help = "who answers of a run (default: ensemble)";
  for (const Method& method : Methods()) help += "; " + method.name + ": " + method.help;
  command.add_option("--method", flags.method, help)->type_name("NAME")->needs(run);
  adapter->needs(model);
  run->excludes(model);
}

void AddSamplingFlags(CLI::App& command, SamplingFlags& flags) {
  const auto add = [&](const char* flag, const char* option, const char* type, const char* help) {
    const std::string prefix = std::string("generation.") + option + "=";
    command
        .add_option_function<std::string>(
            flag, [&flags, prefix](const std::string& value) { flags.overrides.push_back(prefix + value); },
            help)
        ->type_name(type);
  };
  add("--max-new-tokens", "max_new_tokens", "N", "the answer ends after this many tokens");
  add("--temperature", "temperature", "T", "0 = greedy (default); higher is more random");
  add("--top-p", "top_p", "P", "sample among the likeliest tokens that hold this share");
  add("--top-k", "top_k", "K", "sample among the K likeliest tokens; 0 = all");
  add("--seed", "seed", "N", "equal seed, prompt and options give equal text");
  command
      .add_option_function<std::vector<std::string>>(
          "--stop",
          [&flags](const std::vector<std::string>& stops) {
            flags.overrides.push_back("generation.stop=" + JsonLine(Json(stops)));
          },
          "the answer ends before this text; repeatable")
      ->type_name("TEXT")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);  // else CLI11 reads "[x]" as a list
}

}  // namespace elrea
