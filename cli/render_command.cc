// elrea render: the prompt that a chat template makes, before it becomes tokens.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/jinja.h"
#include "data/records.h"
#include "data/tokenizer.h"
#include "model/fetch.h"

namespace elrea {
namespace {

struct RenderFlags {
  std::string model, source, input;
  std::optional<int64_t> now_s;
  bool json = false;
};

// What every line may do without.
JinjaContext DefaultContext(const RenderFlags& flags, std::string& source) {
  JinjaContext context{{{"add_generation_prompt", true}, {"tools", JinjaNone{}}, {"documents", JinjaNone{}}},
                       flags.now_s};
  if (!flags.model.empty()) {
    const auto tokenizer = Tokenizer::Load(ResolveModel(flags.model));
    source = tokenizer->chat_template();
    if (tokenizer->bos())
      context.variables.emplace_back("bos_token", tokenizer->TokenBytes(*tokenizer->bos(), false));
    if (tokenizer->eos())
      context.variables.emplace_back("eos_token", tokenizer->TokenBytes(*tokenizer->eos(), false));
  }
  if (!flags.source.empty()) source = ReadFile(flags.source);
  return context;
}

// A line of variables, or {"source", "variables"} with a template of its own and nothing else.
std::string RenderLine(const Json& line, const std::string& source, JinjaContext context) {
  const bool own = line.contains("source") && line.contains("variables");
  if (own) context.variables.clear();
  for (const auto& [name, value] : (own ? line["variables"] : line).items()) {
    std::erase_if(context.variables, [&](const auto& entry) { return entry.first == name; });
    context.variables.emplace_back(name, JinjaValue::FromJson(value));
  }
  const std::string text = own ? JsonField<std::string>(line, "source", "line") : source;
  if (text.empty()) {
    throw Error(ErrorKind::kInvalidInput,
                "no chat template: give --template FILE, or a --model that has one");
  }
  return JinjaTemplate(ReplaceInvalidUtf8(text)).Render(context);
}

void Render(const RenderFlags& flags) {
  std::string source;
  const JinjaContext context = DefaultContext(flags, source);
  const int64_t num_rows = ForEachRow(flags.input, [&](int64_t number, std::string_view text) {
    const std::string origin = fmt::format("{}:{}", flags.input, number);
    Json line;
    try {
      line = ParseJson(ReplaceInvalidUtf8(text), origin);
    } catch (const Error& error) {  // a user's file, not one of ours: invalid rather than corrupt
      throw Error(ErrorKind::kInvalidInput, error.message());
    }
    if (!line.is_object())
      throw Error(ErrorKind::kInvalidInput, origin + ": expected an object of variables");
    if (!flags.json) {
      std::printf("%s\n", WithContext(origin, [&] { return RenderLine(line, source, context); }).c_str());
      return;
    }
    Json result;
    try {
      result["text"] = RenderLine(line, source, context);
    } catch (const Error& error) {
      result["error"] = error.what();
    }
    std::printf("%s\n", JsonLine(result).c_str());
  });
  if (num_rows == 0)
    throw Error(ErrorKind::kInvalidInput, flags.input + R"( is empty; expected {"messages": [...]} lines)");
}

}  // namespace

void AddRenderCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<RenderFlags>();
  CLI::App* command =
      app.add_subcommand("render", "show the prompt that a Jinja chat template makes of conversations");
  command->add_option("--model", flags->model, "the model whose own template is used")->type_name("MODEL");
  command->add_option("--template", flags->source, "a file with a Jinja template, instead of the model's")
      ->type_name("FILE");
  command
      ->add_option("--input", flags->input,
                   "a file with one line of variables per prompt: {\"messages\": [...], \"tools\": [...]}")
      ->required()
      ->type_name("FILE");
  command->add_option("--now", flags->now_s,
                      "what strftime_now tells, in seconds since 1970 (default: the clock)");
  command->add_flag("--json", flags->json,
                    "one line {\"text\"} or {\"error\"} per prompt; errors do not end it");
  command->callback([&invocation, flags] { invocation.action = [flags] { Render(*flags); }; });
}

}  // namespace elrea
