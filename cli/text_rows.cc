#include "cli/text_rows.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "data/records.h"

namespace elrea {
namespace {

std::string ParseLine(std::string_view line, const std::string& origin) {
  Json json;
  try {
    json = ParseJson(ReplaceInvalidUtf8(line), origin);
  } catch (Error& error) {  // a user's file, not one of ours: invalid rather than corrupt
    throw Error(ErrorKind::kInvalidInput, error.message() + R"(; expected one line {"text": ...} per text)");
  }
  if (!json.is_object() || !json.contains("text") || !json["text"].is_string()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format(R"({}: expected {{"text": "..."}}, not {})", origin, JsonExcerpt(json)));
  }
  return json["text"].get<std::string>();
}

}  // namespace

void AddTextFlags(CLI::App& command, std::string& text, std::string& input) {
  CLI::Option* one = command.add_option("--text", text, "one text")->type_name("TEXT");
  command.add_option("--input", input, "a file with one line {\"text\": ...} per text")
      ->type_name("FILE")
      ->excludes(one);
}

void ForEachText(const std::string& text, const std::string& input,
                 const std::function<void(const std::string&)>& visit) {
  if (input.empty()) {
    if (text.empty()) throw Error(ErrorKind::kInvalidInput, "no text: give --text TEXT or --input FILE");
    visit(ReplaceInvalidUtf8(text));
    return;
  }
  const int64_t num_rows = ForEachRow(input, [&](int64_t number, std::string_view line) {
    visit(ParseLine(line, fmt::format("{}:{}", input, number)));
  });
  if (num_rows == 0)
    throw Error(ErrorKind::kInvalidInput, input + R"( is empty; expected one line {"text": ...} per text)");
}

int32_t RequireBos(const Tokenizer& tokenizer) {
  if (tokenizer.bos()) return *tokenizer.bos();
  throw Error(ErrorKind::kInvalidInput, "this model's tokenizer has no BOS token; leave out --bos");
}

}  // namespace elrea
