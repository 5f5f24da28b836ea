// elrea tokenize: the token ids of texts, and the texts of token ids.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "cli/text_rows.h"
#include "core/error.h"
#include "core/json.h"
#include "data/records.h"
#include "data/tokenizer.h"
#include "model/fetch.h"

namespace elrea {
namespace {

struct TokenizeFlags {
  std::string model, text, input;
  bool json = false, bos = false, special_as_text = false, decode = false, skip_special = false;
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

// The ids of a line {"tokens": [...]}.
std::vector<int32_t> ParseTokens(std::string_view line, const std::string& origin) {
  try {
    return JsonField<std::vector<int32_t>>(ParseJson(line, origin), "tokens", origin);
  } catch (Error& error) {  // a user's file, not one of ours: invalid rather than corrupt
    throw Error(ErrorKind::kInvalidInput,
                error.message() + R"(; expected one line {"tokens": [...]} per text)");
  }
}

void DecodeRows(const Tokenizer& tokenizer, const TokenizeFlags& flags) {
  const int64_t num_rows = ForEachRow(flags.input, [&](int64_t number, std::string_view line) {
    const std::string origin = fmt::format("{}:{}", flags.input, number);
    const std::vector<int32_t> tokens = ParseTokens(line, origin);
    const std::string text =
        WithContext(origin, [&] { return tokenizer.Decode(tokens, flags.skip_special); });
    std::printf("%s\n", JsonLine({{"text", text}}).c_str());
  });
  if (num_rows == 0) {
    throw Error(ErrorKind::kInvalidInput,
                flags.input + R"( is empty; expected one line {"tokens": [...]} per text)");
  }
}

void Tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = Tokenizer::Load(ResolveModel(flags.model));
  if (flags.decode) return DecodeRows(*tokenizer, flags);
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
  CLI::App* command = app.add_subcommand(
      "tokenize", "turn texts into token ids with a model's own tokenizer, or ids into text");
  command
      ->add_option(
          "--model", flags->model,
          "a .gguf file, a Hugging Face directory, a tokenizer.json or tokenizer.model, or a fetched name")
      ->required()
      ->type_name("MODEL");
  AddTextFlags(*command, flags->text, flags->input);
  command->add_flag("--json", flags->json, "one line {\"tokens\": [...]} per text");
  command->add_flag("--bos", flags->bos, "start with the model's BOS token");
  command->add_flag("--special-as-text", flags->special_as_text,
                    "read <|im_start|> and the like as plain characters, not as special tokens");
  CLI::Option* decode =
      command->add_flag("--decode", flags->decode,
                        "the other way: lines {\"tokens\": [...]} of --input become lines {\"text\"}");
  decode->needs(command->get_option("--input"))
      ->excludes(command->get_option("--bos"), command->get_option("--special-as-text"));
  command->add_flag("--skip-special", flags->skip_special, "with --decode: special tokens give no text")
      ->needs(decode);
  command->callback([&invocation, flags] { invocation.action = [flags] { Tokenize(*flags); }; });
}

}  // namespace elrea
