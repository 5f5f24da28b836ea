// The `tokenizers` library's serialisation, version 1.0.
#include "data/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace elrea {
namespace {

// Far above any real vocabulary (262,144), and still harmless as an allocation.
constexpr int64_t kMaxTokens = int64_t{1} << 22;

struct Source {
  std::string origin;  // for messages
  SortedJson root;
};

[[noreturn]] void ThrowCorrupt(const Source& source, const std::string& fault) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: {}; the file is damaged, get it again", source.origin, fault));
}

// A field that must be an object or a list; null and absence give an empty one.
const SortedJson& Section(const Source& source, const SortedJson& parent, const char* key, bool object) {
  static const SortedJson kNothing;
  const auto found = parent.find(key);
  if (found == parent.end() || found->is_null()) return kNothing;
  if (object ? !found->is_object() : !found->is_array()) {
    ThrowCorrupt(source, fmt::format("the field \"{}\" must be {}, not {}", key,
                                     object ? "an object" : "a list", JsonExcerpt(*found)));
  }
  return *found;
}

void Place(const Source& source, const std::string& piece, int64_t id, std::vector<std::string>& pieces) {
  if (id < 0 || id >= kMaxTokens) {
    ThrowCorrupt(source, fmt::format("the id {} of token \"{}\" is out of range", id, piece));
  }
  if (id >= static_cast<int64_t>(pieces.size())) pieces.resize(static_cast<size_t>(id) + 1);
  pieces[static_cast<size_t>(id)] = piece;
}

std::vector<AddedToken> ReadAddedTokens(const Source& source) {
  std::vector<AddedToken> added;
  for (const SortedJson& entry : Section(source, source.root, "added_tokens", false)) {
    const std::string here = source.origin + ": added_tokens";
    AddedToken token;
    token.content = JsonField<std::string>(entry, "content", here);
    token.id = JsonField<int32_t>(entry, "id", here);
    token.special = JsonFieldOr<bool>(entry, "special", false, here);
    token.normalized = JsonFieldOr<bool>(entry, "normalized", !token.special, here);
    token.lstrip = JsonFieldOr<bool>(entry, "lstrip", false, here);
    token.rstrip = JsonFieldOr<bool>(entry, "rstrip", false, here);
    token.single_word = JsonFieldOr<bool>(entry, "single_word", false, here);
    added.push_back(std::move(token));
  }
  return added;
}

Vocabulary ReadVocabulary(const Source& source, const SortedJson& model,
                          const std::vector<AddedToken>& added) {
  const SortedJson& vocab = Section(source, model, "vocab", true);
  if (vocab.empty()) ThrowCorrupt(source, "model.vocab is missing or empty");
  std::vector<std::string> pieces;
  pieces.reserve(vocab.size());
  for (const auto& [piece, id] : vocab.items()) {
    if (!id.is_number_integer()) {
      ThrowCorrupt(source, fmt::format("model.vocab: the id of \"{}\" is not an integer", piece));
    }
    Place(source, piece, id.get<int64_t>(), pieces);
  }
  for (const AddedToken& token : added) Place(source, token.content, token.id, pieces);
  return Vocabulary(std::move(pieces));
}

// ["a", "b"], or "a b" in older files.
std::pair<std::string_view, std::string_view> MergeParts(const Source& source, const SortedJson& merge,
                                                         size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  if (merge.is_string()) {
    const std::string_view line = merge.get_ref<const std::string&>();
    const size_t space = line.find(' ');
    if (space != std::string_view::npos) return {line.substr(0, space), line.substr(space + 1)};
  }
  ThrowCorrupt(source, fmt::format("model.merges[{}] is not two pieces but {}", rank, JsonExcerpt(merge)));
}

std::vector<BpeMergeRule> ReadMerges(const Source& source, const SortedJson& model,
                                     const Vocabulary& vocabulary) {
  const SortedJson& list = Section(source, model, "merges", false);
  std::vector<BpeMergeRule> merges;
  merges.reserve(list.size());
  std::string whole;
  for (const SortedJson& merge : list) {
    const auto [left, right] = MergeParts(source, merge, merges.size());
    whole.assign(left).append(right);
    const auto left_id = vocabulary.Find(left), right_id = vocabulary.Find(right),
               merged_id = vocabulary.Find(whole);
    if (!left_id || !right_id || !merged_id) {
      ThrowCorrupt(source, fmt::format("model.merges[{}] ({}) has a part that is not in model.vocab",
                                       merges.size(), JsonExcerpt(merge)));
    }
    merges.push_back({*left_id, *right_id, *merged_id});
  }
  return merges;
}

// Does a section, or any part of a Sequence, have this type?
bool HasType(const SortedJson& section, std::string_view type) {
  if (!section.is_object()) return false;
  const auto found = section.find("type");
  if (found != section.end() && found->is_string() && found->get_ref<const std::string&>() == type)
    return true;
  const auto parts = section.find("decoders");
  return parts != section.end() && parts->is_array() &&
         std::any_of(parts->begin(), parts->end(),
                     [&](const SortedJson& part) { return HasType(part, type); });
}

void RejectUnsupported(const Source& source, const SortedJson& model) {
  const std::string here = source.origin + ": model";
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!JsonFieldOr<std::string>(model, key, "", here).empty()) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: model.{} is not supported for BPE", source.origin, key));
    }
  }
  if (JsonFieldOr<double>(model, "dropout", 0.0, here) > 0.0) {
    throw Error(ErrorKind::kInvalidInput,
                source.origin + ": model.dropout makes encoding random and is not supported; set it to null");
  }
}

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

// Appends the id of a token that a post-processor names: {"SpecialToken": {"id": TEXT}} or [TEXT, ID].
void AppendNamed(const SortedJson& named, const Vocabulary& vocabulary, std::vector<int32_t>& tokens) {
  const SortedJson* text = nullptr;
  if (named.is_object() && named.contains("id")) text = &named["id"];
  if (named.is_array() && !named.empty()) text = &named[0];
  if (text == nullptr || !text->is_string()) return;
  if (const auto id = vocabulary.Find(text->get_ref<const std::string&>())) tokens.push_back(*id);
}

// What the post-processor puts around a text: TemplateProcessing, BertProcessing and RobertaProcessing, alone
// or in a Sequence.
void ReadPostProcessor(const SortedJson& section, TokenizerSpec& spec) {
  if (!section.is_object()) return;
  if (const auto parts = section.find("processors"); parts != section.end() && parts->is_array()) {
    for (const SortedJson& part : *parts) ReadPostProcessor(part, spec);
  }
  if (section.contains("cls")) AppendNamed(section["cls"], spec.vocabulary, spec.prefix);
  if (section.contains("sep")) AppendNamed(section["sep"], spec.vocabulary, spec.suffix);
  const auto single = section.find("single");
  if (single == section.end() || !single->is_array()) return;
  bool behind_text = false;
  for (const SortedJson& part : *single) {
    if (!part.is_object()) continue;
    if (part.contains("Sequence")) behind_text = true;
    if (part.contains("SpecialToken")) {
      AppendNamed(part["SpecialToken"], spec.vocabulary, behind_text ? spec.suffix : spec.prefix);
    }
  }
}

void ReadConfig(const fs::path& folder, TokenizerSpec& spec) {
  std::error_code unreadable;  // as good as absent
  const fs::path path = folder / "tokenizer_config.json";
  if (fs::exists(path, unreadable)) {
    const std::string origin = path.string();
    const SortedJson config = ReadSortedJsonFile(path);
    if (!config.is_object()) throw Error(ErrorKind::kCorrupt, origin + ": not a JSON object");
    const auto bos = ConfiguredToken(config, "bos_token", origin, spec.vocabulary);
    if (bos) spec.bos = bos;
    spec.eos = ConfiguredToken(config, "eos_token", origin, spec.vocabulary);
    spec.add_bos = JsonFieldOr<bool>(config, "add_bos_token", spec.add_bos, origin);
    spec.chat_template = ConfiguredTemplate(config, origin);
  }
  const fs::path jinja = folder / "chat_template.jinja";
  if (fs::exists(jinja, unreadable)) spec.chat_template = ReadFile(jinja);
}

void ReadUnknown(const Source& source, const SortedJson& model, TokenizerSpec& spec) {
  const auto unknown = JsonFieldOr<std::string>(model, "unk_token", "", source.origin + ": model");
  if (unknown.empty()) return;
  spec.unknown = spec.vocabulary.Find(unknown);
  if (!spec.unknown)
    ThrowCorrupt(source, fmt::format("model.unk_token \"{}\" is not in model.vocab", unknown));
}

BpeRules ReadBpe(const Source& source, const SortedJson& model, const TokenizerSpec& spec) {
  RejectUnsupported(source, model);
  const std::string here = source.origin + ": model";
  return {.merges = ReadMerges(source, model, spec.vocabulary),
          .byte_level = spec.pre_tokenizer.rules().byte_level,
          .byte_fallback = JsonFieldOr<bool>(model, "byte_fallback", false, here),
          .ignore_merges = JsonFieldOr<bool>(model, "ignore_merges", false, here),
          .fuse_unknown = JsonFieldOr<bool>(model, "fuse_unk", false, here)};
}

WordPieceRules ReadWordPiece(const Source& source, const SortedJson& model) {
  const std::string here = source.origin + ": model";
  WordPieceRules rules;
  rules.continuing_prefix =
      JsonFieldOr<std::string>(model, "continuing_subword_prefix", rules.continuing_prefix, here);
  rules.max_word_chars = JsonFieldOr<int64_t>(model, "max_input_chars_per_word", rules.max_word_chars, here);
  return rules;
}

void ReadModel(const Source& source, const SortedJson& model, TokenizerSpec& spec) {
  // Files of early versions name no type.
  const auto type = JsonFieldOr<std::string>(model, "type", model.contains("merges") ? "BPE" : "unknown",
                                             source.origin + ": model");
  ReadUnknown(source, model, spec);
  if (type == "BPE") {
    spec.model = ReadBpe(source, model, spec);
  } else if (type == "WordPiece") {
    spec.model = ReadWordPiece(source, model);
  } else {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: a {} tokenizer is not supported, only BPE and WordPiece are", source.origin, type));
  }
}

void ReadDecoder(const Source& source, TokenizerSpec& spec) {
  using Prepend = PreTokenizer::TextRules::Prepend;
  const SortedJson& section = Section(source, source.root, "decoder", true);
  TokenDecoder& decoder = spec.decoder;
  if (HasType(section, "WordPiece")) {
    const std::string here = source.origin + ": decoder";
    decoder.continuing_prefix = JsonFieldOr<std::string>(section, "prefix", "##", here);
    decoder.cleanup = JsonFieldOr<bool>(section, "cleanup", true, here);
    decoder.strips_leading_space = true;
    return;
  }
  decoder.strips_leading_space =
      !spec.pre_tokenizer.rules().byte_level && (spec.normalizer.prepends() || HasType(section, "Strip") ||
                                                 spec.pre_tokenizer.rules().prepend != Prepend::kNever);
}

}  // namespace

TokenizerSpec ReadJsonTokenizer(const fs::path& tokenizer_json) {
  const Source source{tokenizer_json.string(), ReadSortedJsonFile(tokenizer_json)};
  if (!source.root.is_object()) ThrowCorrupt(source, "not a JSON object");
  const SortedJson& model = Section(source, source.root, "model", true);
  if (model.empty()) ThrowCorrupt(source, "the field \"model\" is missing");
  TokenizerSpec spec;
  spec.added = ReadAddedTokens(source);
  spec.vocabulary = ReadVocabulary(source, model, spec.added);
  spec.normalizer.AddJson(Section(source, source.root, "normalizer", true), source.origin);
  spec.pre_tokenizer =
      PreTokenizer::FromJson(Section(source, source.root, "pre_tokenizer", true), source.origin);
  ReadModel(source, model, spec);
  ReadDecoder(source, spec);
  ReadPostProcessor(Section(source, source.root, "post_processor", true), spec);
  if (!spec.prefix.empty()) spec.bos = spec.prefix.front();
  spec.add_bos = spec.bos.has_value();
  ReadConfig(tokenizer_json.parent_path(), spec);
  return spec;
}

}  // namespace elrea
