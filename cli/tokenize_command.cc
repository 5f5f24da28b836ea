// elrea tokenize: the token ids of texts.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/text_rows.h"
#include "core/json.h"
#include "data/tokenizer.h"
#include "model/fetch.h"

namespace elrea {
namespace {

struct TokenizeFlags {
  std::string model, text, input;
  bool json = false, bos = false, special_as_text = false;
};

std::vector<int32_t> Tokens(const Tokenizer& tokenizer, const TokenizeFlags& flags, const std::string& text) {
  std::vector<int32_t> tokens =
      tokenizer.Encode(text, flags.special_as_text ? SpecialTokens::kAsText : SpecialTokens::kParse);
  if (flags.bos) tokens.insert(tokens.begin(), RequireBos(tokenizer));
  return tokens;
}

void PrintReadable(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens) {
  for (int32_t token : tokens) {
    std::printf("%8d  %s\n", token, JsonLine(Json(tokenizer.TokenBytes(token, false))).c_str());
  }
  std::printf("%zu tokens\n", tokens.size());
}

void Tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = Tokenizer::Load(ResolveModel(flags.model));
  ForEachText(flags.text, flags.input, [&](const std::string& text) {
    const std::vector<int32_t> tokens = Tokens(*tokenizer, flags, text);
    if (flags.json) {
      std::printf("%s\n", JsonLine({{"tokens", tokens}}).c_str());
    } else {
      PrintReadable(*tokenizer, tokens);
    }
  });
}

}  // namespace

void AddTokenizeCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command =
      app.add_subcommand("tokenize", "turn texts into token ids with a model's own tokenizer");
  command->add_option("--model", flags->model, "a .gguf file, a Hugging Face directory or a fetched name")
      ->required()
      ->type_name("MODEL");
  AddTextFlags(*command, flags->text, flags->input);
  command->add_flag("--json", flags->json, "one line {\"tokens\": [...]} per text");
  command->add_flag("--bos", flags->bos, "start with the model's BOS token");
  command->add_flag("--special-as-text", flags->special_as_text,
                    "read <|im_start|> and the like as plain characters, not as special tokens");
  command->callback([&invocation, flags] { invocation.action = [flags] { Tokenize(*flags); }; });
}

}  // namespace elrea
