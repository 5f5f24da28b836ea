// The two normalisers that a precompiled_charsmap has: SentencePiece's own, and the "Precompiled" of the
// `tokenizers` library, which takes the same table and applies it otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/charsmap.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_normalizer.h"

namespace elrea {

// A grapheme cluster of less than six bytes becomes what its shortest prefix with a rule becomes; other
// clusters are looked up character by character.
class PrecompiledNormalizer : public TextTransform {
 public:
  explicit PrecompiledNormalizer(Charsmap charsmap) : charsmap_(std::move(charsmap)) {}
  std::string Apply(std::string_view text) const override;
  std::string Description() const override { return "precompiled " + charsmap_.checksum(); }

 private:
  Charsmap charsmap_;
};

struct SentencePieceRules {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;  // at both ends all, elsewhere all but one
  bool escape_whitespaces = true;        // a space becomes U+2581
  bool whitespace_as_suffix = false;     // the dummy goes behind the text
};

// The longest rule at each place; user-defined pieces are left as they are.
class SentencePieceNormalizer : public TextTransform {
 public:
  // `charsmap`: none where text is taken as it is.
  SentencePieceNormalizer(SentencePieceRules rules, std::optional<Charsmap> charsmap,
                          AddedTokenMatcher user_defined);
  std::string Apply(std::string_view text) const override;
  std::string Description() const override;

 private:
  struct Prefix {
    std::string_view text;  // normalised
    size_t num_bytes;       // of the text it stands for
  };
  Prefix NextPrefix(std::string_view text) const;
  void Append(std::string_view text, std::string& normalized) const;
  SentencePieceRules rules_;
  std::optional<Charsmap> charsmap_;
  AddedTokenMatcher user_defined_;
  std::array<bool, 128> stays_{};  // ASCII characters before an ASCII one that no rule or piece begins with
};

}  // namespace elrea
