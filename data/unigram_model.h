// Unigram language model: of all ways to cut a text into pieces of the vocabulary the one whose scores have
// the largest sum, found by Viterbi's algorithm. Kudo 2018. Two libraries run such models and round sums and
// treat unknown characters differently, so both ways are here; see UnigramRules.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_trie.h"
#include "data/word_model.h"

namespace elrea {

struct UnigramCut;

class UnigramModel : public WordModel {
 public:
  // `spec` must outlive the model.
  UnigramModel(const TokenizerSpec& spec, const UnigramRules& rules);
  // kInvalidInput for a character that the vocabulary lacks when there is no unknown token.
  void Encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& tokens) const override;
  std::string Identity() const override;

 private:
  template <bool kSingle>
  void FindPath(std::string_view text, std::vector<UnigramCut>& cuts) const;
  void EncodeText(std::string_view text, EncodeScratch& scratch, std::vector<int32_t>& tokens) const;
  double ScoreOf(int32_t token, size_t num_bytes) const;
  void AppendUnknown(std::string_view text, std::vector<int32_t>& tokens) const;
  bool AppendBytes(std::string_view text, std::vector<int32_t>& tokens) const;

  const TokenizerSpec& spec_;
  const UnigramRules& rules_;
  int32_t unknown_;  // -1: there is none
  double unknown_score_;
  ByteTrie trie_;
  double user_defined_unit_;              // see ScoreOf
  std::array<int32_t, 256> byte_tokens_;  // -1: the vocabulary lacks the byte
};

}  // namespace elrea
