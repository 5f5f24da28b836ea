#include "data/tokenizer_config.h"

#include <fmt/format.h>

#include <charconv>

#include "core/error.h"
#include "core/json.h"

namespace elrea {
namespace {

// The text of a token in tokenizer_config.json: a string or an object with "content".
std::optional<int32_t> ConfiguredToken(const SortedJson& config, const char* key, const std::string& origin,
                                       const Vocabulary& vocabulary) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::nullopt;
  const auto text = found->is_object() ? JsonField<std::string>(*found, "content", origin + ": " + key)
                                       : JsonField<std::string>(config, key, origin);
  const auto id = vocabulary.Find(text);
  if (!id && !text.empty()) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: {} \"{}\" is not in the vocabulary", origin, key, text));
  }
  return id;
}

// A string, or a list of {name, template} of which "default" is meant.
std::string ConfiguredTemplate(const SortedJson& config, const std::string& origin) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (!found->is_array()) return JsonField<std::string>(config, "chat_template", origin);
  for (const SortedJson& entry : *found) {
    if (JsonField<std::string>(entry, "name", origin + ": chat_template") == "default") {
      return JsonField<std::string>(entry, "template", origin + ": chat_template");
    }
  }
  return "";
}

// null where there is no such file.
SortedJson ReadConfigFile(const fs::path& path) {
  std::error_code unreadable;  // as good as absent
  if (!fs::exists(path, unreadable)) return nullptr;
  SortedJson config = ReadSortedJsonFile(path);
  if (!config.is_object()) throw Error(ErrorKind::kCorrupt, path.string() + ": not a JSON object");
  return config;
}

}  // namespace

void ReadTokenizerConfig(const fs::path& folder, TokenizerSpec& spec) {
  const fs::path path = folder / "tokenizer_config.json";
  if (const SortedJson config = ReadConfigFile(path); !config.is_null()) {
    const std::string origin = path.string();
    const auto bos = ConfiguredToken(config, "bos_token", origin, spec.vocabulary);
    const auto eos = ConfiguredToken(config, "eos_token", origin, spec.vocabulary);
    if (bos) spec.bos = bos;
    if (eos) spec.eos = eos;
    spec.add_bos = JsonFieldOr<bool>(config, "add_bos_token", spec.add_bos, origin);
    spec.chat_template = ConfiguredTemplate(config, origin);
  }
  const fs::path jinja = folder / "chat_template.jinja";
  std::error_code unreadable;
  if (fs::exists(jinja, unreadable)) spec.chat_template = ReadFile(jinja);
}

std::vector<AddedToken> ReadConfiguredTokens(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  const SortedJson config = ReadConfigFile(path);
  std::vector<AddedToken> tokens;
  if (config.is_null() || !config.contains("added_tokens_decoder")) return tokens;
  const std::string here = path.string() + ": added_tokens_decoder";
  if (!config["added_tokens_decoder"].is_object())
    throw Error(ErrorKind::kCorrupt, here + " is not an object");
  for (const auto& [key, entry] : config["added_tokens_decoder"].items()) {
    AddedToken token = ReadAddedToken(entry, here);
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size()) {
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: \"{}\" is not a token id", here, key));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace elrea
