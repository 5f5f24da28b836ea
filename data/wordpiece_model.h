// WordPiece: the longest piece of the vocabulary that begins the word, then the longest that goes on, each
// with a prefix; one unknown token for a word that cannot be covered. Schuster and Nakajima 2012; the rules
// are those of the tokenizers library.
#pragma once

#include "data/word_model.h"

namespace elrea {

class WordPieceModel : public WordModel {
 public:
  // kInvalidInput without an unknown token. `spec` must outlive the model.
  WordPieceModel(const TokenizerSpec& spec, const WordPieceRules& rules);
  void Encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const override;
  std::string Identity() const override;

 private:
  void MatchWord(std::string_view word, std::vector<int32_t>& tokens) const;
  const TokenizerSpec& spec_;
  const WordPieceRules& rules_;
  size_t longest_piece_bytes_ = 0;
};

}  // namespace elrea
