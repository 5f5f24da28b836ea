// What the readers of a tokenizer.json share.
#pragma once

#include <string>

#include "core/json.h"
#include "data/tokenizer_spec.h"

namespace elrea {

struct TokenizerSource {
  std::string origin;  // the file, for messages
  SortedJson root;
};

// Far above any real vocabulary (262,144), and still harmless as an allocation.
inline constexpr int64_t kMaxTokens = int64_t{1} << 22;

[[noreturn]] void ThrowCorrupt(const TokenizerSource& source, const std::string& fault);

// A field that must be an object or a list; null and absence give an empty one.
const SortedJson& Section(const TokenizerSource& source, const SortedJson& parent, const char* key,
                          bool object);

// The model's vocabulary with the added tokens in it.
Vocabulary ReadVocabulary(const TokenizerSource& source, const SortedJson& model,
                          const std::vector<AddedToken>& added);

// Sets spec.model and spec.unknown; may take the byte alphabet from spec.pre_tokenizer. REQUIRES: both it and
// spec.vocabulary are read. kInvalidInput for models other than BPE, WordPiece and Unigram.
void ReadModel(const TokenizerSource& source, const SortedJson& model, TokenizerSpec& spec);

// What the section puts around one text: spec.prefix and spec.suffix.
void ReadPostProcessor(const TokenizerSource& source, const SortedJson& section, TokenizerSpec& spec);

}  // namespace elrea
