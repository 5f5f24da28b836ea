// What a token adds to a decoded text. Kinds of vocabularies spell word boundaries in their own ways.
// Const-shareable.
#pragma once

#include <string>
#include <string_view>

namespace elrea {

struct TokenDecoder {
  bool strips_leading_space = false;  // encoding put a space before the text; decoding takes it away
  // WordPiece: a token begins a word, and a space stands before it, unless it has this prefix. Empty: off.
  std::string continuing_prefix;
  bool cleanup = false;  // WordPiece: no space before punctuation and English contractions

  // The text of a vocabulary piece behind others. REQUIRES: continuing_prefix is set.
  std::string WordPieceText(std::string_view piece) const;
};

}  // namespace elrea
