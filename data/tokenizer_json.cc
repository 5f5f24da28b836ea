// The `tokenizers` library's serialisation, version 1.0.
#include "data/tokenizer_json.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "data/tokenizer_config.h"
#include "data/tokenizer_source.h"

namespace elrea {

void ThrowCorrupt(const TokenizerSource& source, const std::string& fault) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: {}; the file is damaged, get it again", source.origin, fault));
}

const SortedJson& Section(const TokenizerSource& source, const SortedJson& parent, const char* key,
                          bool object) {
  static const SortedJson kNothing;
  const auto found = parent.find(key);
  if (found == parent.end() || found->is_null()) return kNothing;
  if (object ? !found->is_object() : !found->is_array()) {
    ThrowCorrupt(source, fmt::format("the field \"{}\" must be {}, not {}", key,
                                     object ? "an object" : "a list", JsonExcerpt(*found)));
  }
  return *found;
}

namespace {

std::vector<AddedToken> ReadAddedTokens(const TokenizerSource& source) {
  std::vector<AddedToken> added;
  for (const SortedJson& entry : Section(source, source.root, "added_tokens", false)) {
    const std::string here = source.origin + ": added_tokens";
    AddedToken token = ReadAddedToken(entry, here);
    token.id = JsonField<int32_t>(entry, "id", here);
    added.push_back(std::move(token));
  }
  return added;
}

}  // namespace

TokenizerSpec ReadJsonTokenizer(const fs::path& tokenizer_json) {
  const TokenizerSource source{tokenizer_json.string(), ReadSortedJsonFile(tokenizer_json)};
  if (!source.root.is_object()) ThrowCorrupt(source, "not a JSON object");
  const SortedJson& model = Section(source, source.root, "model", true);
  if (model.empty()) ThrowCorrupt(source, "the field \"model\" is missing");
  TokenizerSpec spec;
  spec.added = ReadAddedTokens(source);
  spec.vocabulary = ReadVocabulary(source, model, spec.added);
  spec.normalizer.AddJson(Section(source, source.root, "normalizer", true), source.origin);
  spec.pre_tokenizer =
      PreTokenizer::FromJson(Section(source, source.root, "pre_tokenizer", true), source.origin);
  spec.decoder = TokenDecoder::FromJson(Section(source, source.root, "decoder", true), source.origin);
  ReadModel(source, model, spec);
  ReadPostProcessor(source, Section(source, source.root, "post_processor", true), spec);
  if (!spec.prefix.empty()) spec.bos = spec.prefix.front();
  spec.add_bos = spec.bos.has_value();
  ReadTokenizerConfig(tokenizer_json.parent_path(), spec);
  return spec;
}

}  // namespace elrea
